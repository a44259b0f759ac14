"""The clock, the chance and the pending calls of one simulated seed.

Every call of a process waits here until the seed selects it. A call can be refused, or take effect
and lose its response.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sidecart.chassis.errors import Conflict, SidecarUnavailable, TransientError, WriteRefused

START = datetime(2026, 1, 1, tzinfo=UTC)
PACES = (0, 0, 0, 1, 30), (0, 0, 0, 0, 1)  # seconds between two steps: fast or slow aging of events


@dataclass(frozen=True, slots=True)
class Faults:
    """The probability of each fault at one step, while faults last."""

    death: float = 0.02
    lost_answer: float = 0.02  # a call that takes effect and reports a failure
    refused: float = 0.02  # a call that fails without effect
    vanish: float = 0.04  # a publish that is confirmed and lost, with the ack of its cause
    lost: float = 0.06  # a publish that is confirmed and lost, without another fault
    wiped: float = 0.001  # the broker loses all events
    duplicate: float = 0.05
    steps: int = 400  # the number of steps with faults
    refusal_steps: int = 80  # steps in which the store of one service refuses all writes


ALL = Faults()
CALM = Faults(0, 0, 0, 0, 0, 0, 0, 0, 0)


@dataclass(slots=True, eq=False)
class Delivery:
    """One event for one app, until its acknowledgement."""

    app: str
    topic: str
    body: bytes
    ack_is_lost: bool = False
    task: asyncio.Task[None] | None = None
    process: object = None
    """The process that handles it."""
    work: Callable[[], Awaitable[None]] | None = None
    """Background work of the process; None for an event."""


@dataclass(slots=True, eq=False)
class Call:
    """A call that waits for the schedule."""

    effect: Callable[[], Any]
    done: asyncio.Future[Any]
    delivery: Delivery


CURRENT: ContextVar[Delivery] = ContextVar("CURRENT")
"""The delivery that the running task handles."""


class Schedule:
    """One seed: all chance comes from one generator, so that a run can be repeated."""

    def __init__(self, seed: int, faults: Faults) -> None:
        self.random = random.Random(seed)
        self.faults = faults
        self.steps = 0
        self.now = START
        self._pace = PACES[seed // 2 % 2]
        self._calls: list[Call] = []

    @property
    def is_faulty(self) -> bool:
        """Return whether faults still happen."""
        return self.steps < self.faults.steps

    def clock(self) -> datetime:
        """Return the simulated time."""
        return self.now

    def happens(self, probability: float) -> bool:
        """Draw whether an event of this probability happens."""
        return self.random.random() < probability

    def strikes(self, probability: float) -> bool:
        """Draw whether a fault of this probability happens; False once the faults are over."""
        return self.is_faulty and self.random.random() < probability

    def pass_time(self) -> None:
        """Advance the clock by the pause between two steps."""
        self.now += timedelta(seconds=self.random.choice(self._pace))

    async def call(self, effect: Callable[[], Any]) -> Any:
        """Wait until the schedule executes the effect, and return its result."""
        done = asyncio.get_running_loop().create_future()
        self._calls.append(Call(effect, done, CURRENT.get()))
        return await done

    def execute_one(self) -> bool:
        """Execute a pending call; return False if there is none."""
        if not self._calls:
            return False
        self._execute(self._calls.pop(self.random.randrange(len(self._calls))))
        return True

    def _execute(self, call: Call) -> None:
        if call.done.done():
            return
        if self.strikes(self.faults.refused):
            call.done.set_exception(SidecarUnavailable("refused"))
            return
        try:
            result = call.effect()
        except (Conflict, TransientError) as error:
            call.done.set_exception(error)
            return
        if self.strikes(self.faults.lost_answer):
            call.done.set_exception(SidecarUnavailable("the answer was lost"))
        else:
            call.done.set_result(result)

    def abandon_calls(self, process: object) -> None:
        """Remove the pending calls of a process that dies; each takes effect or not."""
        for call in [call for call in self._calls if call.delivery.process is process]:
            self._calls.remove(call)
            if self.random.random() < 0.5:
                _ignoring_conflicts(call.effect)


def _ignoring_conflicts(effect: Callable[[], Any]) -> None:
    try:
        effect()
    except (Conflict, WriteRefused):
        return
