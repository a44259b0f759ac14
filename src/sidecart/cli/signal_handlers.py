"""The handlers of SIGINT and SIGTERM of a command."""

import os
import signal
import sys
import threading
from types import FrameType

AGAIN_SECONDS = 0.1


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


def unwind(number: int, _frame: FrameType | None) -> None:
    """Handle a SIGTERM like a Ctrl-C: the exception ends what the process has started."""
    sys.exit(128 + number)
