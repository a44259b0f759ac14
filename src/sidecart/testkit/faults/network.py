"""A faulty network: TCP proxies in front of a system's processes.

The proxies run on an event loop in their own thread; any other thread may call every method.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from sidecart.testkit.faults.link import Link

CALL_SECONDS_MAX = 10.0

T = TypeVar("T")


class Network:
    """All links of one system."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.links: dict[str, Link] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="network", daemon=True)
        self._thread.start()

    def link(self, name: str, target: int) -> Link:
        """Return the proxy in front of a port; the first call creates it, and it keeps its own
        port.
        """
        if name not in self.links:
            made = Link(self.call, name, target, self._seed)
            self.links[name] = made
            asyncio.run_coroutine_threadsafe(made.open(), self._loop).result(CALL_SECONDS_MAX)
        found = self.links[name]
        assert found.target == target, f"{name} moved from {found.target} to {target}"
        return found

    def call(self, what: Callable[..., T], *arguments: Any) -> T:
        """Run a function on the loop and return its result."""

        async def run() -> T:
            return what(*arguments)

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(CALL_SECONDS_MAX)

    def close(self) -> None:
        """Close all connections and end the thread."""

        async def end() -> None:
            for link in self.links.values():
                await link.close()
            await asyncio.sleep(0)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(CALL_SECONDS_MAX)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
