"""One unary call of gRPC: its request, and the response as it arrives."""

from __future__ import annotations

import asyncio
from typing import NamedTuple, Protocol

from sidecart.chassis.http2.frames import FLOW_CONTROL_ERROR, PROTOCOL_ERROR
from sidecart.chassis.http2.header_blocks import RequestHead, ResponseHead
from sidecart.chassis.http2.request_bodies import StreamError
from sidecart.chassis.http2.settings import MESSAGE_BYTES_MAX, STREAM_WINDOW

OK, RESOURCE_EXHAUSTED = 0, 8
PREFIX_BYTES = 5  # a flag for compression, and the length of the message


class Reply(NamedTuple):
    """A complete response: gRPC's code and its text, and the message, empty after an error."""

    code: int
    text: str
    message: bytes


class Carrier(Protocol):
    """The connection of a call."""

    def abandon(self, call: Call) -> None:
        """End the stream of a call that is late or canceled."""

    def check(self) -> None:
        """Close the connection unless the server answers a PING."""


class Call:
    """A call, and its response so far."""

    __slots__ = ("_has_head", "_parts", "_size", "connection", "deadline", "head", "message", "result", "stream_id")

    def __init__(self, head: RequestHead, message: bytes, deadline: float, result: asyncio.Future[Reply]) -> None:
        self.head = head
        self.message = message
        self.deadline = deadline
        """The time of the event loop at which the call is late."""
        self.renew(result)

    def renew(self, result: asyncio.Future[Reply]) -> None:
        """Prepare to send the call, again or for the first time."""
        self.result = result
        self.connection: Carrier | None = None
        """The connection on which its stream is open."""
        self.stream_id = 0
        self._has_head = False
        self._parts: list[bytes] = []
        self._size = 0

    def fail(self, error: Exception) -> None:
        """End the call with an error, unless it has a result already."""
        self.connection = None
        if not self.result.done():
            self.result.set_exception(error)

    def headers(self, head: ResponseHead, *, is_end: bool) -> bool:
        """Take headers or trailers; return whether all is complete, or raise StreamError."""
        if not self._has_head:
            if head.status is None:
                raise StreamError(PROTOCOL_ERROR, "a response without a status")
            if head.status.startswith("1") and not is_end:  # informational: the response follows
                return False
            if head.status != "200" or not head.is_grpc:
                raise StreamError(PROTOCOL_ERROR, f"no response of gRPC, with status {head.status[:10]}")
            self._has_head = True
            if not is_end:
                return False
        elif not is_end or head.status is not None:
            raise StreamError(PROTOCOL_ERROR, "trailers that do not end the response")
        if head.code is None or head.code < 0:
            raise StreamError(PROTOCOL_ERROR, "a response without a grpc-status")
        self._complete(head.code, head.message)
        return True

    def data(self, part: bytes) -> None:
        """Take a part of the message; raise StreamError."""
        if not self._has_head:
            raise StreamError(PROTOCOL_ERROR, "DATA before the headers")
        self._parts.append(part)
        before, self._size = self._size, self._size + len(part)
        if self._size > STREAM_WINDOW:
            raise StreamError(FLOW_CONTROL_ERROR, "more bytes than the window allows")
        if before < PREFIX_BYTES <= self._size:
            prefix = b"".join(self._parts)[:PREFIX_BYTES]
            if prefix[0] or int.from_bytes(prefix[1:], "big") > MESSAGE_BYTES_MAX:
                raise StreamError(PROTOCOL_ERROR, "a compressed or oversized message")

    def _complete(self, code: int, text: str) -> None:
        body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        if code == OK:
            if len(body) < PREFIX_BYTES or int.from_bytes(body[1:PREFIX_BYTES], "big") != len(body) - PREFIX_BYTES:
                raise StreamError(PROTOCOL_ERROR, "not exactly one message")
            message = body[PREFIX_BYTES:]
        else:
            message = b""
        self.connection = None
        if not self.result.done():
            self.result.set_result(Reply(code, text, message))
