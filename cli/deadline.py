"""Waiting with a limit, for a condition, broken off at once when somebody asks for a stop."""

import threading
import time
from collections.abc import Callable

from cli.errors import Interrupted, LaunchError

STEP_SECONDS = 0.05
"""How often a condition is looked at: below what a person notices, and far above what a look costs."""


class Deadline:
    """The one way the launcher waits; `stop` may be called from a signal handler or another thread."""

    def __init__(self) -> None:
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Break off whatever is being waited for, now and from now on."""
        self._stopped.set()

    @property
    def stopped(self) -> bool:
        """Whether a stop was asked for."""
        return self._stopped.is_set()

    def pause(self, seconds: float) -> None:
        """Sleep, or raise Interrupted as soon as a stop is asked for."""
        # Short sleeps and not Event.wait: the handler that sets the event runs in this very thread.
        end = time.monotonic() + seconds
        while True:
            if self._stopped.is_set():
                raise Interrupted
            left = end - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, STEP_SECONDS))

    def until(
        self,
        condition: Callable[[], bool],
        seconds: float,
        failure: Callable[[], str],
        step_seconds: float = STEP_SECONDS,
    ) -> None:
        """Wait until the condition holds; after so many seconds raise LaunchError with the failure's text."""
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise LaunchError(failure())
            self.pause(step_seconds)
