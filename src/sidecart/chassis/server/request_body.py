"""The body of a request: read whole, or drained before a response that does not need it.

A server may respond before the body has arrived. A proxy such as HAProxy then resets the caller's
connection, because it cannot tell whether the server reads the rest. The reset may discard the
response. An error response therefore waits for the end of the body, within limits.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from starlette.types import Message, Receive, Scope

DRAIN_BYTES_MAX = 8 * 1024 * 1024  # read and discarded, so that the caller receives the response
DRAIN_SECONDS_MAX = 5.0


class RequestBody:
    """The `receive` callable of one request; it tracks whether the body was read to its end."""

    __slots__ = ("_is_at_end", "_receive")

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._is_at_end = False

    async def __call__(self) -> Message:
        """Return the next ASGI message: a part of the body, or a disconnect."""
        message = await self._receive()
        if not message.get("more_body"):
            self._is_at_end = True
        return message

    async def drain(self, scope: Scope) -> None:
        """Read and discard the rest of the body.

        It reads nothing if the body is too long or the caller waits for `100 Continue`. It stops at
        `DRAIN_SECONDS_MAX` and `DRAIN_BYTES_MAX`.
        """
        if self._is_at_end or not _may_be_drained(scope):
            return
        size_bytes, has_more = 0, True
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS_MAX):
                while has_more and size_bytes <= DRAIN_BYTES_MAX:
                    message = await self()
                    size_bytes += len(message.get("body", b""))
                    has_more = message.get("more_body", False)


def _may_be_drained(scope: Scope) -> bool:
    headers = dict(scope["headers"])
    if b"expect" in headers:
        return False
    length = headers.get(b"content-length", b"")
    if length.isdigit():
        return 0 < int(length[:20]) <= DRAIN_BYTES_MAX
    return b"transfer-encoding" in headers


async def whole_body(receive: Receive) -> bytes | None:
    """Return the whole body, or None if the caller has disconnected."""
    # Joined once: a body may have a hundred MiB, and repeated concatenation would copy it each
    # time.
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return parts[0] if len(parts) == 1 else b"".join(parts)
