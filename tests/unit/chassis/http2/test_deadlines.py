"""Deadlines with one timer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from sidecart.chassis.http2.deadlines import Deadlines


@dataclass(eq=False)
class Call:
    """A call with a deadline."""

    deadline: float


class CountingLoop(asyncio.SelectorEventLoop):
    """An event loop that counts its timers."""

    timers = 0

    def call_at(self, *arguments: object, **more: object) -> asyncio.TimerHandle:
        """Count one timer."""
        self.timers += 1
        return super().call_at(*arguments, **more)  # type: ignore[arg-type]  # passed on


def test_each_late_call_is_reported_once_in_the_order_of_deadlines() -> None:
    """A later deadline never delays an earlier one, whichever was added first."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        late: list[Call] = []
        done = asyncio.Event()

        def report(call: Call) -> None:
            assert call.deadline <= loop.time()
            late.append(call)
            if len(late) == 3:
                done.set()

        deadlines = Deadlines(loop, report)
        calls = [Call(loop.time() + seconds) for seconds in (0.06, 0.02, 0.04, 0.03, 60)]
        for call in calls:
            deadlines.add(call)
        deadlines.discard(calls[3])
        async with asyncio.timeout(5):
            await done.wait()
        assert [calls[1], calls[2], calls[0]] == late
        deadlines.close()

    asyncio.run(run())


def test_a_call_that_ends_in_time_costs_no_timer() -> None:
    """A thousand calls share one."""
    loop = CountingLoop()

    async def run() -> None:
        deadlines: Deadlines[Call] = Deadlines(loop, lambda call: None)
        before = loop.timers
        for _ in range(1_000):
            call = Call(loop.time() + 10)
            deadlines.add(call)
            deadlines.discard(call)
        assert 1 == loop.timers - before
        deadlines.close()

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(run())


def test_a_call_that_is_late_when_it_is_added_is_reported() -> None:
    """A call that is sent again keeps its deadline."""

    async def run() -> None:
        late: asyncio.Future[Call] = asyncio.get_running_loop().create_future()
        deadlines = Deadlines(asyncio.get_running_loop(), late.set_result)
        deadlines.add(call := Call(0))
        async with asyncio.timeout(5):
            assert call is await late

    asyncio.run(run())
