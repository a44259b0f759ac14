"""Child processes, each with a process group and a bounded log; none outlives the launcher."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from sidecart.launcher.errors import LaunchError
from sidecart.launcher.rotation import Rotation, last_lines, older

PR_SET_PDEATHSIG = 1
"""Linux's prctl(2) option for the signal that a process receives when its parent thread dies."""

_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def _die_with(parent: int) -> Callable[[], None]:
    """Return a function that a child runs before its program.

    It makes the kernel kill the child when the launcher dies, even of SIGKILL.
    """

    def prepare() -> None:
        if _libc is not None:
            _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != parent:  # the launcher died before the call above
                os._exit(1)

    return prepare


class Processes:
    """The children of one system by name.

    Start them from the main thread, because a child dies with the thread that started it.
    """

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._stop_signals: dict[str, signal.Signals] = {}
        self._rotation = Rotation()
        self.logged: set[str] = set()
        """The names of all children ever started."""

    def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> int:
        """Start a child under a name and return its pid; its output goes to <logs>/<name>.log."""
        assert not self.is_alive(name), f"{name} is already running"
        self.logs.mkdir(parents=True, exist_ok=True)
        log = self.log(name)
        if name not in self.logged and log.exists():
            log.replace(older(log))  # only the previous run's log is kept
        self.logged.add(name)
        with log.open("ab") as output:
            try:
                child = subprocess.Popen(
                    command,
                    env=dict(env),
                    cwd=cwd,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    # Ctrl-C in a terminal reaches only the launcher, which stops the children in
                    # its own sequence
                    start_new_session=True,
                    preexec_fn=_die_with(os.getpid()),
                )
            except OSError as error:
                raise LaunchError(f"{name} cannot be started: {error}") from None
        self._rotation.add(log)
        self._children[name] = child
        self._stop_signals[name] = stop_signal
        return child.pid

    def log(self, name: str) -> Path:
        """The log file of a child."""
        return self.logs / f"{name}.log"

    def last_lines(self, name: str, count: int = 15) -> list[str]:
        """The last lines of a child's log."""
        return last_lines(self.log(name), count)

    def is_alive(self, name: str) -> bool:
        """Whether the child with that name runs."""
        return name in self._children and self._children[name].poll() is None

    def pids(self) -> dict[str, int]:
        """The pid of every child that was started and not stopped, running or dead."""
        # list(): another thread may read while the launcher's thread starts or stops a child.
        return {name: child.pid for name, child in list(self._children.items())}

    def dead(self) -> dict[str, int]:
        """The children that ended unexpectedly, with their exit codes."""
        codes = {name: child.poll() for name, child in self._children.items()}
        return {name: code for name, code in codes.items() if code is not None}

    def stop(self, names: Sequence[str], seconds: float) -> list[str]:
        """Ask all children to end, and kill the remaining ones after the timeout.

        Returns the names of the killed children.
        """
        children = {name: self._children.pop(name) for name in names if name in self._children}
        for name, child in children.items():
            _signal(child, self._stop_signals[name])
        end = time.monotonic() + seconds
        killed = []
        for name, child in children.items():
            try:
                child.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                killed.append(name)
            # The child's group includes processes that the child started and left behind.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        self._end_rotation_if_idle()
        return killed

    def kill(self, name: str) -> None:
        """Kill a child at once, as a crash would."""
        child = self._children.pop(name)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        self._end_rotation_if_idle()

    def _end_rotation_if_idle(self) -> None:
        if not self._children:  # no writer is left
            self._rotation.end()


def _signal(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
    if child.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            child.send_signal(number)
