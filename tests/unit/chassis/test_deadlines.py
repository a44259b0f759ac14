"""Deadlines with one timer for all calls: each call ends at its own deadline, and no other does.

The tests run on uvloop, as the apps do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import pytest
import uvloop

from sidecart.chassis.deadlines import TaskDeadlines

LONG = 60.0
SHORT = 0.05
ROUNDING = 1e-6
"""Of a difference of two times."""


async def _within(deadlines: TaskDeadlines, seconds: float, wait: Awaitable[object]) -> float:
    """Return the time that the block took until it ended or its deadline passed."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    try:
        with deadlines.within(seconds):
            await wait
    except TimeoutError:
        return loop.time() - started + ROUNDING
    return 0.0


def test_a_block_ends_at_its_deadline() -> None:
    """It gets TimeoutError at the deadline, and the task can go on."""

    async def scenario() -> None:
        took = await _within(TaskDeadlines(), SHORT, asyncio.Event().wait())

        assert SHORT <= took < LONG
        assert 0 == asyncio.current_task().cancelling()  # type: ignore[union-attr]  # it runs in a task

    uvloop.run(scenario())


def test_each_deadline_holds_whatever_the_sequence() -> None:
    """Calls with earlier deadlines start after others, and still end first; a later one goes on."""

    async def scenario() -> None:
        deadlines, ended = TaskDeadlines(), list[float]()

        async def call(seconds: float) -> None:
            await _within(deadlines, seconds, asyncio.Event().wait())
            ended.append(seconds)

        calls = [asyncio.create_task(call(seconds)) for seconds in (LONG, 3 * SHORT, SHORT, 2 * SHORT)]
        await asyncio.wait(calls[1:])

        assert [SHORT, 2 * SHORT, 3 * SHORT] == ended
        assert not calls[0].done()
        calls[0].cancel()

    uvloop.run(scenario())


def test_a_deadline_holds_after_the_call_that_set_the_timer() -> None:
    """The first call completes and leaves its timer; the next call's deadline is later."""

    async def scenario() -> None:
        deadlines = TaskDeadlines()
        with deadlines.within(SHORT):
            pass

        assert 2 * SHORT <= await _within(deadlines, 2 * SHORT, asyncio.Event().wait()) < LONG

    uvloop.run(scenario())


def test_a_block_that_completes_is_not_disturbed_later() -> None:
    """Its task is not canceled when the deadline of the block passes."""

    async def scenario() -> None:
        deadlines = TaskDeadlines()
        with deadlines.within(SHORT):
            await asyncio.sleep(0)

        await _within(deadlines, 2 * SHORT, asyncio.Event().wait())  # the first deadline passes during it

    uvloop.run(scenario())


def test_a_cancellation_from_outside_stays_one() -> None:
    """A canceled task gets CancelledError, also when its deadline passes at the same time."""

    async def canceled(*, at_the_deadline: bool) -> None:
        deadlines = TaskDeadlines()
        task = asyncio.create_task(_within(deadlines, 0.0 if at_the_deadline else LONG, asyncio.Event().wait()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    uvloop.run(canceled(at_the_deadline=False))
    uvloop.run(canceled(at_the_deadline=True))


def test_an_exception_of_the_block_passes() -> None:
    """An error in the block is no TimeoutError, also if the block raises it at its deadline."""

    async def failing() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise KeyError from None

    async def scenario() -> None:
        with pytest.raises(KeyError), TaskDeadlines().within(LONG):
            raise KeyError
        with pytest.raises(KeyError):
            await _within(TaskDeadlines(), 0.0, failing())

    uvloop.run(scenario())
