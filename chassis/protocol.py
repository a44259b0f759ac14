"""HTTP/1.1 as the server speaks it: one response for each request, and no byte of a body read as another request.

uvicorn's protocol on llhttp, with what they leave open:

- An offer to upgrade ends llhttp's parser after the head, and uvicorn reads the body as the next request. Here the head
  is parsed again without the offer (RFC 9110 section 7.8), by a new parser, and the body after it as usual.
- A refusal is sent after the responses to the requests before it, and only for a request that has no response yet.
  It closes the connection: where the next request would begin is unknown.
- A trailer is dropped. uvicorn adds it to the headers that the app may have read already.
- Bytes that are no content (head, chunk sizes, chunk extensions, trailers) are limited.
"""

from __future__ import annotations

import logging
import secrets
from http import HTTPStatus
from typing import Any

import httptools
import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from chassis import request_head
from chassis.request_head import HEAD_BYTES_MAX, Rejection

log = logging.getLogger(__name__)

LINGER_SECONDS = 2.0  # after a refusal: to close while the caller still sends would break the refusal off


class BoundedHttp(HttpToolsProtocol):
    """One connection."""

    # Not in the instance's dict: with more than 30 names in it, all of its attributes, uvicorn's too, are slower.
    __slots__ = (
        "_bytes",
        "_framing",
        "_has_offer",
        "_is_in_head",
        "_is_rejected",
        "_rejection",
        "_segment_bytes",
        "_unanswered",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._is_in_head = True
        self._bytes = 0  # since the head began, or since the last byte of content
        self._segment_bytes = 0
        self._framing: request_head.Headers = []
        self._has_offer = False
        self._unanswered = 0
        self._is_rejected = False
        self._rejection: bytes | None = None  # to be sent when the requests before it are answered

    def data_received(self, data: bytes) -> None:
        """Parse what came; refuse what is no HTTP, and a head that is still not over when it is too large already."""
        if self._is_rejected:
            return
        self._unset_keepalive_if_required()
        self._segment_bytes = len(data)
        self._bytes += self._segment_bytes
        try:
            self._parse(data)
        except httptools.HttpParserError as error:
            cause = error.__context__
            self._reject(
                cause if isinstance(cause, Rejection) else request_head.not_http(f"no HTTP/1.1 request: {error}")
            )
        else:
            if self._bytes > HEAD_BYTES_MAX:
                self._reject(_too_large(self._is_in_head))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; drop a trailer."""
        if not self._is_in_head:
            return
        name = name.lower()
        if name in request_head.FRAMING:
            self._framing.append((name, value))
        elif name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Start the request if its head is one; leave one that offers an upgrade to `data_received`."""
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise request_head.no_resource("CONNECT")
            self._has_offer = True
            return
        # A head that began in the middle of this segment was not counted from its first byte.
        if self._bytes + self._segment_bytes > HEAD_BYTES_MAX:
            request_head.check_size(self.url, self.headers)
        if len(self.headers) > request_head.HEADERS_MAX:
            raise request_head.too_large()
        request_head.check(self.parser.get_http_version(), self._framing)
        self._framing.clear()
        if not self.url.startswith(b"/") or b"#" in self.url:
            self.url = request_head.origin_form(self.url, self.parser.get_method().decode("ascii"), self.headers)
        super().on_headers_complete()
        if self.expect_100_continue:
            # A caller who is answered without "100 Continue" may send the body or another request: RFC 9110 10.1.1.
            self.cycle.keep_alive = False
        self._is_in_head, self._bytes = False, 0
        self._unanswered += 1

    def on_body(self, body: bytes) -> None:
        """Pass on some of the body; its size is the app's to limit."""
        self._bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The next byte begins another head."""
        if self._has_offer:
            return
        super().on_message_complete()
        self._is_in_head, self._bytes = True, 0

    def on_response_complete(self) -> None:
        """Go on with the next request, or send the refusal that had to wait."""
        self._unanswered -= 1
        super().on_response_complete()
        if self._rejection is not None and not self._unanswered:
            self._end(self._rejection)

    def _parse(self, data: bytes) -> None:
        """Feed the parser; a head with an offer is parsed again without it, and then what follows it."""
        rest: bytes | memoryview = data
        while True:
            try:
                self.parser.feed_data(rest)
                return
            except httptools.HttpParserUpgrade as offer:
                rest = memoryview(rest)[offer.args[0] :]
            # Not in the handler above: an error that is raised there has the offer as its context, not the Rejection.
            head = request_head.without_upgrade(
                self.parser.get_method(), self.url, self.parser.get_http_version(), self.headers
            )
            self._has_offer = False
            self._framing.clear()
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn has it
            self.parser.feed_data(head)

    def _reject(self, rejection: Rejection) -> None:
        """Answer what the parser gave up on, in its turn, and close."""
        log.warning("a request is refused: %s", rejection)
        self._is_rejected = True
        words: bytes | None = _rendered(rejection)
        if not self._is_in_head and self.cycle.response_started:
            words = None  # the request whose body is broken has its response already
        elif not self._is_in_head:
            self._unanswered -= 1
            if self._unanswered:
                self.pipeline.popleft()  # the newest request; the app has not seen it
            else:
                self.cycle.disconnected = True
                self.cycle.message_event.set()
        if self._unanswered and words is not None:
            self._rejection = words
        else:
            self._end(words)

    def _end(self, words: bytes | None) -> None:
        """Send the last words and close, once the caller has read them."""
        if self.transport.is_closing():
            return
        self._unset_keepalive_if_required()
        if words is None:
            self.transport.close()
            return
        self.transport.write(words)
        self.transport.write_eof()
        self.flow.resume_reading()
        self.loop.call_later(LINGER_SECONDS, self.transport.close)


def _too_large(is_in_head: bool) -> Rejection:
    if is_in_head:
        return request_head.too_large()
    return request_head.not_http(f"{HEAD_BYTES_MAX} bytes between two pieces of content are too many")


def _rendered(rejection: Rejection) -> bytes:
    """Render a whole answer: there is no request yet that an app could answer."""
    title = HTTPStatus(rejection.status).phrase
    body = msgspec.json.encode(
        {
            "type": f"urn:sidecart:problem:{rejection.kind}",
            "title": title,
            "status": rejection.status,
            "detail": rejection.detail,
            "trace_id": secrets.token_hex(16),
        }
    )
    allow = "" if rejection.allow is None else f"allow: {rejection.allow}\r\n"
    head = (
        f"HTTP/1.1 {rejection.status} {title}\r\ncontent-type: application/problem+json\r\n"
        f"content-length: {len(body)}\r\n{allow}connection: close\r\n\r\n"
    )
    return head.encode() + body
