"""An event loop whose clock jumps to the next timer.

Waiting takes no time, and the load of the machine does not change a measurement.
"""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any


class _Selector(selectors.SelectSelector):
    """Advances the clock instead of waiting."""

    loop: "JumpingLoop"

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.loop.seconds += timeout or 0
        return super().select(0)


class JumpingLoop(asyncio.SelectorEventLoop):
    """A loop whose clock starts at 0 s."""

    def __init__(self) -> None:
        self.seconds = 0.0
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        """Return the sum of all waits, in seconds."""
        return self.seconds


def run_jumping(scenario: Coroutine[Any, Any, None]) -> None:
    """Run one scenario on a JumpingLoop."""
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        runner.run(scenario)
