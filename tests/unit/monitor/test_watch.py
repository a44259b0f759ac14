"""What runs while somebody looks: a broker that is unreachable, with a real sidecar's port that nobody listens on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import pytest

from cli.ports import free_port
from cli.servers.registry import BROKERS, Broker
from cli.topics import MONITOR_SUBSCRIPTIONS, Subscription
from monitor import watch as module
from monitor.page_state import PageState
from monitor.viewers import Viewers
from monitor.watch import Watch

SECONDS = 30


@dataclass
class World:
    """A broker that says what it was told, and may be away; and what the page was told of the tap."""

    away: int = 0
    """So many times it does not answer."""
    notified: list[str] = field(default_factory=list)
    states: list[str] = field(default_factory=list)
    background_tasks: list[str] = field(default_factory=list)
    ended: int = 0
    """So many sessions."""

    def _count(self, expected: Sequence[Subscription]) -> int:
        self._hear("forget", expected)
        return len(expected)

    def _hear(self, what: str, expected: Sequence[Subscription]) -> None:
        assert tuple(expected) == MONITOR_SUBSCRIPTIONS
        if self.away:
            self.away -= 1
            raise OSError("unreachable")
        self.notified.append(what)

    def broker(self) -> Broker:
        """The broker."""
        return replace(
            BROKERS["redis"],
            skip_backlog=lambda _, expected: self._hear("begin", expected),
            remove=lambda _, expected: self._count(expected),
        )

    def notify(self, kind: str, body: Any) -> None:
        """What the page hears."""
        if kind == "tap":
            self.states.append(body["state"])

    async def _work(self) -> None:
        self.background_tasks.append("begun")
        try:
            await asyncio.Event().wait()
        finally:
            self.background_tasks.append("ended")

    def works(self, client: httpx.AsyncClient) -> list[Awaitable[None]]:
        """What is done beside the tap."""
        return [self._work()]

    def watch(self, viewers: Viewers, grace_seconds: float = 0.0) -> Watch:
        """The watch; its sidecar is unreachable."""
        page_state = PageState({}, self.notify, lambda: 0.0)
        return Watch(
            page_state, viewers, self.broker(), "here", (free_port(), "token"), grace_seconds, self.works, self.end
        )

    def end(self) -> None:
        """A session is over."""
        self.ended += 1

    async def until(self, *notified: str) -> None:
        """Wait until the broker was told this, last."""
        async with asyncio.timeout(SECONDS):
            while tuple(self.notified[-len(notified) :]) != notified:  # noqa: ASYNC110 - a list has no event to wait for
                await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REOPEN_SECONDS", 0.01)


def test_nothing_runs_until_somebody_looks_and_nothing_after() -> None:
    """What was left is forgotten at once; then one session, all of which ends."""
    world, viewers = World(), Viewers()

    async def story() -> list[list[str]]:
        watching = asyncio.create_task(world.watch(viewers).run())
        await world.until("forget")
        seen = [list(world.background_tasks)]
        with viewers.connected():
            await world.until("begin")
            seen.append(list(world.background_tasks))
        await world.until("begin", "forget", "forget")
        seen.append(list(world.background_tasks))
        watching.cancel()
        await asyncio.wait([watching])
        return seen

    assert [[], ["begun"], ["begun", "ended"]] == asyncio.run(story())
    assert ("off", 1) == (world.states[-1], world.ended)


def test_a_sidecar_that_is_unreachable_is_tried_again_and_what_is_new_stays_where_it_began() -> None:
    """The broker is told once: what passes meanwhile waits."""
    world, viewers = World(), Viewers()

    async def story() -> None:
        watching = asyncio.create_task(world.watch(viewers).run())
        with viewers.connected():
            async with asyncio.timeout(SECONDS):
                while world.states.count("failed") < 3:  # noqa: ASYNC110 - a list has no event to wait for
                    await asyncio.sleep(0.01)
        await world.until("forget", "forget")
        watching.cancel()
        await asyncio.wait([watching])

    asyncio.run(story())
    assert 1 == world.notified.count("begin")
    assert ["opening", "failed", "opening", "failed"] == world.states[:4]


def test_what_could_not_be_forgotten_is_forgotten_later() -> None:
    """A broker that is unreachable when the last one leaves would else keep a queue that nobody reads."""
    world, viewers = World(), Viewers()

    async def story() -> None:
        watching = asyncio.create_task(world.watch(viewers).run())
        with viewers.connected():
            await world.until("begin")
            world.away = 3
        await world.until("begin", "forget")
        watching.cancel()
        await asyncio.wait([watching])

    asyncio.run(story())
    assert 0 == world.away


def test_one_that_is_stopped_forgets() -> None:
    """With somebody still looking: the process ends."""
    world, viewers = World(), Viewers()

    async def story() -> None:
        watching = asyncio.create_task(world.watch(viewers).run())
        with viewers.connected():
            await world.until("begin")
            watching.cancel()
            await asyncio.wait([watching])

    asyncio.run(story())
    assert ["begin", "forget"] == world.notified[-2:]
    assert ["begun", "ended"] == world.background_tasks
