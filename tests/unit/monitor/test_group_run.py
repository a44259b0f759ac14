"""The page's run on a group: progress, stop, one at a time, and a complete entry at shutdown."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable

import pytest

from sidecart.launcher.audit import Operator, newest_entries
from sidecart.launcher.dead_letters import find_dead_letters
from sidecart.launcher.errors import LaunchError
from sidecart.monitor import group_run as module
from sidecart.monitor.group_run import ENDED, FAILED, RUNNING, STOPPED, GroupRun, Progress
from tests.unit.launcher.test_dead_letters import FakeState

BOSS = Operator("boss@example.com", "page")
COUNT = 10
SECONDS = 10


def filled() -> FakeState:
    """Return the state with one group."""
    state = FakeState()
    ids = [f"a{number}" for number in range(COUNT)]
    state.put("order", "dead-index:0", {"ids": ids})
    event = json.dumps({"id": "1", "type": "OrderPaid"})
    for each in ids:
        state.put("order", f"dead:{each}", {"topic": "OrderPaid", "reason": "why", "event": event})
    return state


class Watched:
    """A run, and its notices."""

    def __init__(self, state: FakeState) -> None:
        self.notices: list[Progress] = []
        self.changes = 0
        self.ended = asyncio.Event()
        self.run = GroupRun(state, self._notice, self._changed)
        self.group = next(find_dead_letters(state)).cause.id

    def _notice(self, progress: Progress) -> None:
        self.notices.append(progress)

    def _changed(self) -> None:
        self.changes += 1
        self.ended.set()

    async def wait(self) -> Progress:
        """Wait for the end; return the last notice."""
        async with asyncio.timeout(SECONDS):
            await self.ended.wait()
        await asyncio.sleep(0)  # the notices of the thread are callbacks of the loop
        return self.notices[-1]


def play(scenario: Callable[[FakeState, Watched], object]) -> None:
    """Run a scenario on one group."""

    async def run() -> None:
        state = filled()
        await scenario(state, Watched(state))  # type: ignore[misc]  # each scenario is a coroutine function

    asyncio.run(run())


def test_the_progress_is_reported_and_the_trail_names_the_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last notice has all outcomes; the dead letters are read again."""
    monkeypatch.setattr(module, "PROGRESS_SECONDS", 0)

    async def scenario(state: FakeState, watched: Watched) -> None:
        begun = await watched.run.start("replay", watched.group, BOSS)
        last = await watched.wait()

        assert RUNNING == begun.state
        assert (ENDED, COUNT, {"replayed": COUNT}) == (last.state, last.total, last.outcomes)
        assert COUNT + 2 == len(watched.notices)
        assert 1 == watched.changes
        assert ("boss@example.com", "page") == (newest_entries(state)[0].who, newest_entries(state)[0].via)

    play(scenario)


def test_one_run_at_a_time_and_a_stop_leaves_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second start is refused; the entry of the first one is complete after `close`."""
    monkeypatch.setattr(module, "PROGRESS_SECONDS", 0)

    async def scenario(state: FakeState, watched: Watched) -> None:
        published, go_on = threading.Event(), threading.Event()

        def wait() -> None:
            published.set()
            assert go_on.wait(SECONDS)

        state.on_publish = wait
        await watched.run.start("replay", watched.group, BOSS)
        assert await asyncio.to_thread(published.wait, SECONDS)
        with pytest.raises(LaunchError, match="wait, or stop it"):
            await watched.run.start("discard", watched.group, BOSS)
        closing = asyncio.create_task(watched.run.close())
        await asyncio.sleep(0)
        go_on.set()
        await closing
        last = await watched.wait()

        assert (STOPPED, {"replayed": 1, "not reached": COUNT - 1}) == (last.state, last.outcomes)
        assert "interrupted" == newest_entries(state)[0].outcome
        assert COUNT - 1 == len(list(find_dead_letters(state)))

    play(scenario)


def test_a_failed_run_says_why() -> None:
    """The next run may begin."""

    async def scenario(_state: FakeState, watched: Watched) -> None:
        await watched.run.start("replay", "unknown", BOSS)
        last = await watched.wait()
        assert FAILED == last.state
        assert "no open dead letter is in the group unknown" in last.why

        watched.ended.clear()
        await watched.run.start("discard", watched.group, BOSS)
        assert ENDED == (await watched.wait()).state

    play(scenario)


def test_a_bug_ends_the_run_on_the_page() -> None:
    """The log has the traceback."""

    async def scenario(state: FakeState, watched: Watched) -> None:
        def fail() -> None:
            raise ZeroDivisionError

        state.on_publish = fail
        await watched.run.start("replay", watched.group, BOSS)
        last = await watched.wait()

        assert (FAILED, "unexpected error: see the log of the page") == (last.state, last.why)
        assert "interrupted" == newest_entries(state)[0].outcome

    play(scenario)
