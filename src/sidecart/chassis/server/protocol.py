"""The server's HTTP/1.1 protocol: one response per request, and no body parsed as a request.

This is uvicorn's protocol on llhttp, with these changes:

- An offer to upgrade stops llhttp after the head, and uvicorn parses the body as the next request.
  Here a new parser parses the head again without the offer (RFC 9110 section 7.8), then the body.
- A rejection is sent after the responses to earlier requests, and only if its own request has no
  response yet. It closes the connection, because the start of the next request is unknown.
- A trailer is dropped. uvicorn adds it to the headers, which the app may have read already.
- Bytes outside the content (head, chunk sizes, chunk extensions, trailers) are limited.
- A head and a body arrive within their time limits, however slowly the client sends.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Any, ClassVar

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from sidecart.chassis.server import request_head
from sidecart.chassis.server.connection_limit import ConnectionLimit
from sidecart.chassis.server.request_head import HEAD_BYTES_MAX, Rejection

log = logging.getLogger(__name__)

# After a rejection: closing while the client still sends would truncate the response.
LINGER_SECONDS = 2.0
HEAD_SECONDS_MAX = 10.0  # from the first byte of a head to its end
BODY_SECONDS_MAX = 30.0  # from the end of the head to the end of the body
SWEEP_SECONDS = 1.0
UNUSED_SECONDS_MAX = 120.0  # without a byte; clients close idle connections before (KEEP_ALIVE_SECONDS in serve.py)


class BoundedHttp(HttpToolsProtocol):
    """One connection."""

    limit: ClassVar[ConnectionLimit | None] = None

    # Slots, because more than 30 names in the instance's dict slow down all of its attributes,
    # including uvicorn's.
    __slots__ = (
        "_bytes",
        "_checked",
        "_framing",
        "_has_offer",
        "_is_counted",
        "_is_in_head",
        "_is_rejected",
        "_rejection",
        "_segment_bytes",
        "_since",
        "_unanswered",
        "_unused_since",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._is_counted = False
        self._is_in_head = True
        self._bytes = 0  # since the start of the head, or since the last byte of content
        self._segment_bytes = 0
        self._framing: request_head.Headers = []
        self._checked: tuple[str, request_head.Headers] | None = None  # of the head before
        self._has_offer = False
        self._unanswered = 0
        self._is_rejected = False
        self._rejection: bytes | None = None  # sent once all earlier requests are answered
        self._unused_since: float | None = None  # when a connection without a byte began
        self._since: float | None = None  # when the head or body that is incomplete began

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Accept a connection, or answer 503 if there are too many."""
        super().connection_made(transport)
        self._unused_since = self.loop.time()
        if self.limit is not None:
            self._is_counted = self.limit.admits(self.client)
            if not self._is_counted:
                self._reject(request_head.too_many_connections())

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        super().connection_lost(exc)
        if self.limit is not None and self._is_counted:
            self.limit.release(self.client)

    def data_received(self, data: bytes) -> None:
        """Parse input; reject what is not HTTP, and too many bytes outside the content."""
        if self._is_rejected:
            return
        self._unset_keepalive_if_required()
        if self._since is None:
            self._since, self._unused_since = self.loop.time(), None
        self._segment_bytes = len(data)
        self._bytes += self._segment_bytes
        try:
            self._parse(data)
        except httptools.HttpParserError as error:
            cause = error.__context__
            self._reject(
                cause if isinstance(cause, Rejection) else request_head.not_http(f"not an HTTP/1.1 request: {error}")
            )
        else:
            if self._bytes > HEAD_BYTES_MAX:
                self._reject(_too_large(self._is_in_head))

    def on_message_begin(self) -> None:
        """Begin a head, also in the segment that ends the request before it."""
        super().on_message_begin()
        self._since = self.loop.time()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Store a header; drop a trailer."""
        if not self._is_in_head:
            return
        name = name.lower()
        if name in request_head.FRAMING:
            self._framing.append((name, value))
        elif name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Start the request if its head is valid; raise Rejection otherwise.

        A head with an offer to upgrade is left to `data_received`.
        """
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise request_head.no_resource("CONNECT")
            self._has_offer = True
            return
        # `_bytes` misses the start of a head that began in the middle of this segment.
        if self._bytes + self._segment_bytes > HEAD_BYTES_MAX:
            request_head.check_size(self.url, self.headers)
        if len(self.headers) > request_head.HEADERS_MAX:
            raise request_head.too_large()
        framing = self.parser.get_http_version(), self._framing
        if framing != self._checked:  # a client repeats these headers on its connection
            request_head.check(*framing)
            self._checked = framing
        self._framing = []
        if not self.url.startswith(b"/") or b"#" in self.url:
            self.url = request_head.origin_form(self.url, self.parser.get_method().decode("ascii"), self.headers)
        super().on_headers_complete()
        if self.expect_100_continue:
            # After a response without "100 Continue" the client may send the body or another
            # request: RFC 9110 section 10.1.1.
            self.cycle.keep_alive = False
        self._is_in_head, self._bytes, self._since = False, 0, self.loop.time()
        self._unanswered += 1

    def on_body(self, body: bytes) -> None:
        """Pass a part of the body to the app, which limits its size."""
        self._bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Complete the request; the next byte begins another head."""
        if self._has_offer:
            return
        super().on_message_complete()
        self._is_in_head, self._bytes, self._since = True, 0, None

    def on_response_complete(self) -> None:
        """Continue with the next request, or send a waiting rejection; keep the time of a body."""
        self._unanswered -= 1
        super().on_response_complete()
        if self._since is not None and (self._is_in_head or self._unanswered):  # reading had paused until now
            self._since = self.loop.time()
        if self._rejection is not None and not self._unanswered:
            self._finish(self._rejection)

    def end_if_late(self, now: float) -> None:
        """Reject a head or a body that has not arrived in time; `now` is the loop's time."""
        seconds = HEAD_SECONDS_MAX if self._is_in_head else BODY_SECONDS_MAX
        if self._unused_since is not None and now - self._unused_since > UNUSED_SECONDS_MAX:
            self.transport.close()
        elif self._since is not None and now - self._since > seconds and not (self.pipeline or self._is_rejected):
            # with further requests in the pipeline, the server itself has paused reading
            self._reject(request_head.too_late("head" if self._is_in_head else "body", seconds))

    def _parse(self, data: bytes) -> None:
        """Feed the parser; parse a head with an upgrade again without it, then the rest."""
        rest: bytes | memoryview = data
        while True:
            try:
                self.parser.feed_data(rest)
                return
            except httptools.HttpParserUpgrade as offer:
                rest = memoryview(rest)[offer.args[0] :]
            # Not in the handler above, where an error would have the offer as its context instead
            # of the Rejection.
            head = request_head.without_upgrade(
                self.parser.get_method(), self.url, self.parser.get_http_version(), self.headers
            )
            self._has_offer = False
            self._framing = []
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as in uvicorn
            self.parser.feed_data(head)

    def _reject(self, rejection: Rejection) -> None:
        """Send the rejection after all earlier responses, and close the connection."""
        log.warning("rejected a request: %s", rejection)
        self._is_rejected = True
        response: bytes | None = rejection.rendered()
        if not self._is_in_head and self.cycle.response_started:
            response = None  # the request with the broken body is answered already
        elif not self._is_in_head:
            self._unanswered -= 1
            if self._unanswered:
                self.pipeline.popleft()  # the newest request, which the app has not seen
            else:
                self.cycle.disconnected = True
                self.cycle.message_event.set()
        if self._unanswered and response is not None:
            self._rejection = response
        else:
            self._finish(response)

    def _finish(self, response: bytes | None) -> None:
        """Send the response, if any, and close the connection after `LINGER_SECONDS`."""
        if self.transport.is_closing():
            return
        self._unset_keepalive_if_required()
        if response is None:
            self.transport.close()
            return
        self.transport.write(response)
        self.transport.write_eof()
        self.flow.resume_reading()
        self.loop.call_later(LINGER_SECONDS, self.transport.close)


def _too_large(is_in_head: bool) -> Rejection:
    if is_in_head:
        return request_head.too_large()
    return request_head.not_http(f"more than {HEAD_BYTES_MAX} bytes between two pieces of content")


async def end_late(connections: Iterable[object]) -> None:
    """End each connection whose head or body is late, until cancelled."""
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        for connection in [each for each in connections if isinstance(each, BoundedHttp)]:
            connection.end_if_late(connection.loop.time())
