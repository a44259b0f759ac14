"""Server-sent events: all viewers read one ring, each at its own position."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec

from sidecart.monitor.ring import Ring
from sidecart.monitor.viewers import Viewers

HEARTBEAT_SECONDS = 15.0
"""A comment this often keeps intermediaries from closing an idle connection."""
RETRY_MS = 1_000
"""How long a browser waits before it reconnects."""
SNAPSHOT = "snapshot"


class Live:
    """Sends notices to all viewers; `snapshot` returns the page's complete state."""

    def __init__(self, snapshot: Callable[[], Any], ring: Ring | None = None) -> None:
        self._snapshot = snapshot
        self._ring = ring or Ring(uuid.uuid4().hex[:8])
        self._changed = asyncio.Event()
        self._closed = False
        self.viewers = Viewers()

    def notify(self, kind: str, body: Any) -> None:
        """Send a notice to all viewers."""
        self._ring.add(kind, msgspec.json.encode(body))
        self._wake()

    def reset(self) -> None:
        """Give reconnecting viewers a snapshot, because events go unseen from now on."""
        self._ring = Ring(uuid.uuid4().hex[:8])
        self._wake()

    def close(self) -> None:
        """End all streams, because the process is about to exit."""
        self._closed = True
        self._wake()

    async def stream(self, last_id: str = "") -> AsyncIterator[bytes]:
        """Yield a viewer's missed notices, or a snapshot if they are gone, and then new notices.

        The stream ends for a viewer so slow that the ring has overtaken it; the browser reconnects.
        """
        with self.viewers.connected():
            yield f"retry: {RETRY_MS}\n\n".encode()
            ring = self._ring
            number = ring.number_of(last_id)
            if number is None:
                number = ring.newest
                yield _frame(ring, number, SNAPSHOT, msgspec.json.encode(self._snapshot()))
            while not self._closed and ring is self._ring and (notices := ring.since(number)) is not None:
                changed = self._changed  # read before the first await, so that no notice is missed
                for notice in notices:
                    yield _frame(ring, notice.number, notice.kind, notice.body)
                    number = notice.number
                if not await _set_within(changed, HEARTBEAT_SECONDS):
                    yield b": heartbeat\n\n"

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
