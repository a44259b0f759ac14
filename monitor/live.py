"""Server-sent events: everybody who looks reads the same ring, each at a place of his own."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec

from monitor.ring import Ring
from monitor.viewers import Viewers

HEARTBEAT_SECONDS = 15.0
"""A comment, so that whatever is between does not take the connection for dead."""
RETRY_MS = 1_000
"""When a browser asks again after it lost the connection."""
SNAPSHOT = "snapshot"


class Live:
    """Tells whoever looks what happens; `snapshot` is all that a page has to know at this moment."""

    def __init__(self, snapshot: Callable[[], Any], ring: Ring | None = None) -> None:
        self._snapshot = snapshot
        self._ring = ring or Ring(uuid.uuid4().hex[:8])
        self._changed = asyncio.Event()
        self._closed = False
        self.viewers = Viewers()

    def notify(self, kind: str, body: Any) -> None:
        """Tell everybody."""
        self._ring.add(kind, msgspec.json.encode(body))
        self._wake()

    def reset(self) -> None:
        """Whoever comes back from now on gets a snapshot: what happens meanwhile is not seen by anybody."""
        self._ring = Ring(uuid.uuid4().hex[:8])
        self._wake()

    def close(self) -> None:
        """Send everybody away: the process is about to end."""
        self._closed = True
        self._wake()

    async def stream(self, last_id: str = "") -> AsyncIterator[bytes]:
        """What one looker is sent: what he missed, or all there is if that is gone, and then what happens.

        One who reads so slowly that the ring has overtaken him is let go; the browser comes back by itself.
        """
        with self.viewers.connected():
            yield f"retry: {RETRY_MS}\n\n".encode()
            ring = self._ring
            number = ring.number_of(last_id)
            if number is None:
                number = ring.newest
                yield _frame(ring, number, SNAPSHOT, msgspec.json.encode(self._snapshot()))
            while not self._closed and ring is self._ring and (notices := ring.since(number)) is not None:
                changed = self._changed  # before anything is awaited: what is told meanwhile sets it
                for notice in notices:
                    yield _frame(ring, notice.number, notice.kind, notice.body)
                    number = notice.number
                if not await _set_within(changed, HEARTBEAT_SECONDS):
                    yield b": still here\n\n"

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _frame(ring: Ring, number: int, kind: str, body: bytes) -> bytes:
    return f"id: {ring.id_of(number)}\nevent: {kind}\ndata: ".encode() + body + b"\n\n"


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
