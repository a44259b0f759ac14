"""HTTP/1.1 as the server speaks it, with a limit on a request's head, and what is no HTTP answered as a problem."""

from __future__ import annotations

import secrets
from http import HTTPStatus
from typing import Any

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES_MAX = 64 * 1024  # request line and headers together; ours are below 1 KiB, a proxy may add a few


class HeadTooLarge(Exception):
    """The head of a request is larger than HEAD_BYTES_MAX; the parser ends with it."""


class BoundedHttp(HttpToolsProtocol):
    """One connection; without a limit a header that never ends would be kept until the memory is full."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._is_in_head = True
        self._head_bytes = 0  # since the head began; what is read with its end may hold some of the body too

    def data_received(self, data: bytes) -> None:
        """Parse what came, and refuse a head that is still not over when it is too large already."""
        if self._is_in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._is_in_head and self._head_bytes > HEAD_BYTES_MAX and not self.transport.is_closing():
            self.send_400_response("")

    def on_headers_complete(self) -> None:
        """Start the request, unless its head is too large."""
        if self._head_bytes > HEAD_BYTES_MAX:
            size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
            if size > HEAD_BYTES_MAX:
                raise HeadTooLarge(size)
        self._is_in_head, self._head_bytes = False, 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The next byte begins another head."""
        super().on_message_complete()
        self._is_in_head, self._head_bytes = True, 0

    def send_400_response(self, msg: str) -> None:
        """Answer what the parser gave up on, and close: nobody knows where the next request would begin."""
        if self._head_bytes > HEAD_BYTES_MAX:
            refusal = _refusal(431, "head_too_large", f"the headers may have {HEAD_BYTES_MAX} bytes")
        else:
            refusal = _refusal(400, "not_http", "this is no HTTP/1.1 request that the server can read")
        self.transport.write(refusal)
        self.transport.close()


def _refusal(status: int, kind: str, detail: str) -> bytes:
    """Render a whole answer: there is no request yet that an app could answer."""
    title = HTTPStatus(status).phrase
    body = msgspec.json.encode(
        {
            "type": f"urn:sidecart:problem:{kind}",
            "title": title,
            "status": status,
            "detail": detail,
            "trace_id": secrets.token_hex(16),
        }
    )
    head = (
        f"HTTP/1.1 {status} {title}\r\ncontent-type: application/problem+json\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body
