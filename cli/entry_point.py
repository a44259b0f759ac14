"""The first lines of the command, run by ./sidecart: a Ctrl-C at any moment ends it without a traceback.

./sidecart holds SIGINT back while one Python becomes the other; it is let through here, before anything is loaded.
"""

import os
import signal
import sys
from types import FrameType

INTERRUPTED = 128 + signal.SIGINT


def main() -> None:
    """Load the command and run it; 130 after a Ctrl-C, 143 after a SIGTERM that the command itself does not take."""
    signal.signal(signal.SIGINT, _end_at_once)  # nothing is started yet
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    from cli.__main__ import main as command

    code = INTERRUPTED
    try:
        signal.signal(signal.SIGTERM, _unwind)  # as a Ctrl-C does: what was started is stopped on the way out
        signal.signal(signal.SIGINT, signal.default_int_handler)
        code = command()
    except KeyboardInterrupt:
        pass
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # nothing is left to be interrupted
    sys.exit(code)


def _end_at_once(number: int, _frame: FrameType | None) -> None:
    os._exit(128 + number)


def _unwind(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    main()
