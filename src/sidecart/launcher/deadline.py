"""Waiting for a condition with a time limit, interrupted at once by a stop request."""

import threading
import time
from collections.abc import Callable

from sidecart.launcher.errors import Interrupted, LaunchError

STEP_SECONDS = 0.05
"""The interval between two checks: unnoticeable for a person, and long compared to a check."""


class Deadline:
    """The only way the launcher waits. A signal handler or another thread may call `stop`."""

    def __init__(self) -> None:
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Interrupt the current wait and all later ones."""
        self._stopped.set()

    @property
    def stopped(self) -> bool:
        """Whether a stop was requested."""
        return self._stopped.is_set()

    def pause(self, seconds: float) -> None:
        """Sleep; raise Interrupted as soon as a stop is requested."""
        # Short sleeps instead of Event.wait, because the signal handler that sets the event runs in
        # this thread.
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
        """Wait until the condition holds; on timeout raise LaunchError with the failure's text."""
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise LaunchError(failure())
            self.pause(step_seconds)
