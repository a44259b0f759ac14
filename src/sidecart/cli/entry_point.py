"""The entry point of ./sidecart, which a Ctrl-C ends at any moment without a traceback.

./sidecart blocks SIGINT while it replaces one Python process with another. This module unblocks
SIGINT before it imports a library.
"""

import signal
import sys

from sidecart.cli import signal_handlers

INTERRUPTED = 128 + signal.SIGINT


def main() -> None:
    """Load and run the command.

    The exit code is 130 after a Ctrl-C, and 143 after a SIGTERM that the command itself does not
    handle.
    """
    signal.signal(signal.SIGINT, signal_handlers.end_at_once)  # no process has started yet
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    from sidecart.launcher.errors import LaunchError

    try:
        from sidecart.cli.__main__ import main as command
    except LaunchError as error:  # the topology may be read when a module is loaded
        sys.exit(f"sidecart: {error}")
    code: int | str | None = INTERRUPTED
    try:
        # like a Ctrl-C: the unwinding stops the started processes
        sys.unraisablehook = signal_handlers.send_again
        signal.signal(signal.SIGTERM, signal_handlers.unwind)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        code = command()
    except KeyboardInterrupt:
        pass
    except RuntimeError as error:
        # Python replaces an exception in __set_name__, which runs while a module is imported
        if not isinstance(error.__cause__, (KeyboardInterrupt, SystemExit)):
            raise
        code = error.__cause__.code if isinstance(error.__cause__, SystemExit) else INTERRUPTED
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # no cleanup is left to interrupt
    sys.exit(code)


if __name__ == "__main__":
    main()
