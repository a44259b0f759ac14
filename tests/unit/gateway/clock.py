"""A loop whose clock jumps to what is due next: waiting takes no time, and a busy machine changes no measurement."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any


class _Selector(selectors.SelectSelector):
    """Moves the clock instead of waiting."""

    loop: "JumpingLoop"

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.loop.seconds += timeout or 0
        return super().select(0)


class JumpingLoop(asyncio.SelectorEventLoop):
    """A loop that begins at 0 s."""

    def __init__(self) -> None:
        self.seconds = 0.0
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        """Seconds since the start, all of them waited for."""
        return self.seconds


def run_jumping(scenario: Coroutine[Any, Any, None]) -> None:
    """Run one scenario on such a loop."""
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        runner.run(scenario)
