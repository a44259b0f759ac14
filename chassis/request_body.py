"""The body of a request: read whole, or to its end before an answer that needs none of it.

A server may answer before the body is there. A proxy between it and the caller then ends the caller's connection, since
it cannot tell whether the rest will be read (HAProxy does), and the reset may take the answer with it. So a refusal
waits for the end of the body, within limits.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from starlette.types import Message, Receive, Scope

DRAIN_BYTES_MAX = 8 * 1024 * 1024  # read and thrown away, so that the caller can read the answer
DRAIN_SECONDS_MAX = 5.0


class RequestBody:
    """The `receive` of one request; knows whether the body was read to its end."""

    __slots__ = ("_is_at_end", "_receive")

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._is_at_end = False

    async def __call__(self) -> Message:
        """Return the next piece of the body, or that the caller is gone."""
        message = await self._receive()
        if not message.get("more_body"):
            self._is_at_end = True
        return message

    async def drain(self, scope: Scope) -> None:
        """Read what is left of the body, unless it is too long, too slow, or waits to be asked for (Expect)."""
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
    """Return the whole body, or None if the caller is gone."""
    parts: list[bytes] = []  # joined once: a message may have a hundred MiB, and adding up copies it again and again
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return parts[0] if len(parts) == 1 else b"".join(parts)
