"""The handlers of SIGINT and SIGTERM of a command."""

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType

AGAIN_SECONDS = 0.1

Handler = Callable[[int, FrameType | None], object] | int | None


def end_at_once(number: int, _frame: FrameType | None) -> None:
    """Handle a signal while nothing has started yet."""
    os._exit(128 + number)


def send_again(unraisable: "sys.UnraisableHookArgs") -> None:
    """Send a signal again whose exception Python has dropped, as in a callback at a fork."""
    kinds = {KeyboardInterrupt: signal.SIGINT, SystemExit: signal.SIGTERM}
    number = kinds.get(unraisable.exc_type)
    if number is None:
        sys.__unraisablehook__(unraisable)
        return
    # not now: its exception would end this hook only
    timer = threading.Timer(AGAIN_SECONDS, os.kill, (os.getpid(), number))
    timer.daemon = True
    timer.start()


class Stop:
    """Records the first SIGINT, SIGTERM or SIGHUP of the block, and interrupts no line of code."""

    def __init__(self) -> None:
        self._former: dict[int, Handler] = {}
        self._number = 0

    def __enter__(self) -> "Stop":
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self._former[number] = signal.signal(number, self._record)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def is_requested(self) -> bool:
        """Return whether a signal has come."""
        return self._number != 0

    @property
    def exit_code(self) -> int:
        """The exit code of a command that a signal has stopped; 0 without one."""
        return 128 + self._number if self._number else 0

    def _record(self, number: int, _frame: FrameType | None) -> None:
        self._number = self._number or number


def unwind(number: int, _frame: FrameType | None) -> None:
    """Handle a SIGTERM like a Ctrl-C: the exception ends what the process has started."""
    sys.exit(128 + number)
