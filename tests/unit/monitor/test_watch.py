"""Sessions: the broker is a stub, and the sidecar's port has no listener."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from sidecart.launcher.ports import free_port
from sidecart.launcher.servers.server import Broker
from sidecart.launcher.servers.valkey import Valkey
from sidecart.launcher.topics import Subscription, monitor_subscriptions
from sidecart.monitor import watch as module
from sidecart.monitor.description import Description
from sidecart.monitor.page_state import PageState
from sidecart.monitor.viewers import Viewers
from sidecart.monitor.watch import Watch

SECONDS = 30


@dataclass
class Stub:
    """A broker that records its calls and may be unreachable, and the tap's states on the page."""

    failures: int = 0
    """The number of calls that fail."""
    notified: list[str] = field(default_factory=list)
    states: list[str] = field(default_factory=list)
    background_tasks: list[str] = field(default_factory=list)
    ended: int = 0
    """The number of ended sessions."""

    def _count(self, expected: Sequence[Subscription]) -> int:
        self._record("remove", expected)
        return len(expected)

    def _record(self, what: str, expected: Sequence[Subscription]) -> None:
        assert tuple(expected) == monitor_subscriptions()
        if self.failures:
            self.failures -= 1
            raise OSError("unreachable")
        self.notified.append(what)

    def broker(self) -> Broker:
        """The stub of the broker."""
        stub = self

        class Recorded(Valkey):
            def skip_backlog(self, address: str, new: Sequence[Subscription]) -> None:
                stub._record("skip backlog", new)

            def remove(self, address: str, gone: Sequence[Subscription]) -> int:
                return stub._count(gone)

        return Recorded()

    def notify(self, kind: str, body: Any) -> None:
        """Receive a notice to the page."""
        if kind == "tap":
            self.states.append(body["state"])

    async def _work(self) -> None:
        self.background_tasks.append("begun")
        try:
            await asyncio.Event().wait()
        finally:
            self.background_tasks.append("ended")

    def tasks(self, client: httpx.AsyncClient) -> list[Awaitable[None]]:
        """The background tasks of a session."""
        return [self._work()]

    def watch(self, viewers: Viewers, grace_seconds: float = 0.0) -> Watch:
        """A watch whose sidecar is unreachable."""
        page_state = PageState({}, Description(), self.notify, lambda: 0.0)
        return Watch(
            page_state,
            viewers,
            self.broker(),
            "here",
            ("127.0.0.1", free_port(), "token"),
            grace_seconds,
            self.tasks,
            self.end,
        )

    def end(self) -> None:
        """Count an ended session."""
        self.ended += 1

    async def until(self, *notified: str) -> None:
        """Wait until these are the last calls to the broker."""
        async with asyncio.timeout(SECONDS):
            while tuple(self.notified[-len(notified) :]) != notified:  # noqa: ASYNC110 - a list has no event to wait for
                await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REOPEN_SECONDS", 0.01)


def test_a_session_runs_only_while_a_viewer_is_connected() -> None:
    """Leftovers are removed at startup, and all tasks end with the session."""
    stub, viewers = Stub(), Viewers()

    async def story() -> list[list[str]]:
        watching = asyncio.create_task(stub.watch(viewers).run())
        await stub.until("remove")
        seen = [list(stub.background_tasks)]
        with viewers.connected():
            await stub.until("skip backlog")
            seen.append(list(stub.background_tasks))
        await stub.until("skip backlog", "remove", "remove")
        seen.append(list(stub.background_tasks))
        watching.cancel()
        await asyncio.wait([watching])
        return seen

    assert [[], ["begun"], ["begun", "ended"]] == asyncio.run(story())
    assert ("off", 1) == (stub.states[-1], stub.ended)


def test_the_tap_is_opened_again_without_skipping_the_backlog() -> None:
    """The backlog is skipped once: events published after that wait at the broker."""
    stub, viewers = Stub(), Viewers()

    async def story() -> None:
        watching = asyncio.create_task(stub.watch(viewers).run())
        with viewers.connected():
            async with asyncio.timeout(SECONDS):
                while stub.states.count("failed") < 3:  # noqa: ASYNC110 - a list has no event to wait for
                    await asyncio.sleep(0.01)
        await stub.until("remove", "remove")
        watching.cancel()
        await asyncio.wait([watching])

    asyncio.run(story())
    assert 1 == stub.notified.count("skip backlog")
    assert ["opening", "failed", "opening", "failed"] == stub.states[:4]


def test_a_failed_removal_is_repeated() -> None:
    """Otherwise an unreachable broker would keep a queue without a reader."""
    stub, viewers = Stub(), Viewers()

    async def story() -> None:
        watching = asyncio.create_task(stub.watch(viewers).run())
        with viewers.connected():
            await stub.until("skip backlog")
            stub.failures = 3
        await stub.until("skip backlog", "remove")
        watching.cancel()
        await asyncio.wait([watching])

    asyncio.run(story())
    assert 0 == stub.failures


def test_a_stopped_watch_removes_its_subscriptions() -> None:
    """This holds even with a viewer connected."""
    stub, viewers = Stub(), Viewers()

    async def story() -> None:
        watching = asyncio.create_task(stub.watch(viewers).run())
        with viewers.connected():
            await stub.until("skip backlog")
            watching.cancel()
            await asyncio.wait([watching])

    asyncio.run(story())
    assert ["skip backlog", "remove"] == stub.notified[-2:]
    assert ["begun", "ended"] == stub.background_tasks
