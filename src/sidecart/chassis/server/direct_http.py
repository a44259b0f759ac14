"""Passes deliveries from the HTTP parser to the app, without ASGI in between.

An ordinary delivery needs none of what ASGI offers. Its path is known, its body is small and read
whole, and its response is one of two. An ASGI request takes a quarter more of the app's time
(docs/adr/0074-deliveries-bypass-asgi.md).

Every other request goes through ASGI. So does a delivery without the right token, with a large
body, with chunks, or behind an unanswered request. Both ways end in the same `Deliveries`, and the
same `SidecarAuth` checks the token.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Any, ClassVar

from starlette.types import ASGIApp
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from sidecart.chassis.server.deliveries import REDELIVERED, Deliveries, Headers
from sidecart.chassis.server.inbound import SidecarAuth
from sidecart.chassis.server.protocol import BoundedHttp
from sidecart.chassis.server.shutdown import CLOSE

log = logging.getLogger(__name__)

BODY_BYTES_MAX = HIGH_WATER_LIMIT
"""The server reads so much of a body without a pause; ASGI reads larger ones piece by piece."""


class DirectDeliveries:
    """The deliveries of an app that may bypass ASGI."""

    def __init__(self, auth: SidecarAuth, deliveries: Deliveries) -> None:
        self._auth = auth
        self.process = deliveries.process
        self._is_subscribed = deliveries.is_subscribed

    def accepts(self, path: str, headers: Headers) -> bool:
        """Return whether a POST is a delivery of a subscribed topic with the app token.

        Its body must have a length of at most `BODY_BYTES_MAX`.
        """
        return self._is_subscribed(path) and _has_short_body(headers) and self._auth.admits(path, headers)


@dataclass(frozen=True, slots=True)
class ServedApp:
    """An app as `run` serves it: all requests by ASGI, but these deliveries directly."""

    asgi: ASGIApp
    direct: DirectDeliveries | None = None


class Delivery:
    """One delivery and its response, in place of uvicorn's RequestResponseCycle.

    uvicorn and `BoundedHttp` read and set the attributes without an underscore.
    """

    message_event = asyncio.Event()  # tells an ASGI app of more input; no code waits for this one

    __slots__ = (
        "_headers",
        "_http",
        "_path",
        "body",
        "disconnected",
        "keep_alive",
        "more_body",
        "response_complete",
        "response_started",
    )

    def __init__(self, http: DirectHttp, path: str, headers: Headers, *, keep_alive: bool) -> None:
        self._http = http
        self._path = path
        self._headers = headers
        self.keep_alive = keep_alive
        self.body = bytearray()
        self.more_body = True
        self.disconnected = False
        self.response_started = False
        self.response_complete = False

    async def answer(self, direct: DirectDeliveries) -> None:
        """Process the delivery and respond; also a failure and a cancellation are answered."""
        body, self.body, status = bytes(self.body), bytearray(), REDELIVERED
        try:
            status = await direct.process(self._path, self._headers, body)
            if self._http.flow.write_paused:
                await self._http.flow.drain()
        except Exception:
            log.exception("a delivery to %s failed", self._path)
        finally:
            self._respond(status)

    def _respond(self, status: int) -> None:
        if self.disconnected:
            return
        http = self._http
        headers = http.server_state.default_headers
        if CLOSE in headers:
            self.keep_alive = False
        elif not self.keep_alive:
            headers = [*headers, CLOSE]
        lines = b"".join([b"%b: %b\r\n" % header for header in headers])
        self.response_started = True
        http.transport.write(b"%b%bcontent-length: 0\r\n\r\n" % (STATUS_LINE[status], lines))
        self.response_complete = True
        if not self.keep_alive:
            http.transport.close()
        http.on_response_complete()


class DirectHttp(BoundedHttp):
    """One connection, on which deliveries bypass ASGI."""

    direct: ClassVar[DirectDeliveries | None] = None

    __slots__ = ("_delivery",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._delivery: Delivery | None = None  # its body is arriving

    def on_message_complete(self) -> None:
        """Complete the request; process a delivery, whose body is here now."""
        super().on_message_complete()
        if self._delivery is not None and self.direct is not None:
            task = self.loop.create_task(self._delivery.answer(self.direct))
            self._delivery = None
            # The server waits for these tasks when it stops.
            task.add_done_callback(self.tasks.discard)
            self.tasks.add(task)

    def _start_request(self) -> None:
        path = self._path_of_delivery()
        if path is None:
            super()._start_request()
            return
        keep_alive = self.parser.get_http_version() != "1.0" and self.parser.should_keep_alive()
        self._delivery = Delivery(self, path, self.headers, keep_alive=keep_alive)
        self.cycle = self._delivery  # type: ignore[assignment]  # it has all that uvicorn uses of a cycle

    def _path_of_delivery(self) -> str | None:
        """Return the path of a request that bypasses ASGI, or None."""
        if self.direct is None or self.parser.get_method() != b"POST" or self.expect_100_continue:
            return None
        if self._unanswered:  # uvicorn queues it, and starts it in its turn
            return None
        path = self.url.decode("ascii")
        return path if self.direct.accepts(path, self.headers) else None


def _has_short_body(headers: Headers) -> bool:
    for name, value in headers:
        if name == b"content-length":  # at most one, and a number: the parser has checked it
            return int(value) <= BODY_BYTES_MAX
    return False
