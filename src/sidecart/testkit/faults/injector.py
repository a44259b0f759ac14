"""Injects the scheduled faults: SIGKILL and SIGSTOP to processes and their children, and the other
kinds.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil

from sidecart.launcher.lifecycle.system import System
from sidecart.testkit.faults.schedule import Fault, Kind, count

UNDO_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 10.0
POLL_SECONDS = 0.001
STOPPED = {"T", "t"}
"""The states of a stopped thread in /proc."""

Undo = Callable[[], None]
Harm = Callable[[str], Undo | None]
"""Injects one kind of fault into a target; the result undoes it.

OSError means that the fault is impossible at the moment.
"""


@dataclass(frozen=True, slots=True)
class InjectedFault:
    """A fault that happened, with start and end in seconds of the wall clock."""

    kind: str
    target: str
    began: float
    ended: float


class Injector:
    """Injects the faults in its own thread; it looks processes up at the moment of the fault."""

    def __init__(self, system: System, faults: Sequence[Fault], more: Mapping[Kind, Harm] | None = None) -> None:
        self._system = system
        self._faults = faults
        self._harms: dict[Kind, Harm] = {"kill": self._kill, "freeze": self._freeze, **(more or {})}
        self._thread = threading.Thread(target=self._run, name="injector", daemon=True)
        self._stop = threading.Event()
        self._undos: list[threading.Timer] = []
        self.done: list[InjectedFault] = []
        self.missed: list[str] = []
        """Faults that failed because their target was dead or unreachable."""
        self.error: BaseException | None = None

    def start(self) -> None:
        """Start the clock of the schedule."""
        self._thread.start()

    @property
    def running(self) -> bool:
        """Return whether faults are pending or still last."""
        return self._thread.is_alive() or any(undo.is_alive() for undo in list(self._undos))

    def stop(self) -> None:
        """Cancel pending faults, and end lasting ones at once."""
        self._stop.set()
        self._thread.join()
        for undo in self._undos:
            if undo.is_alive() and not undo.finished.is_set():
                undo.cancel()
                undo.function(*undo.args)
            undo.join(UNDO_SECONDS_MAX)

    def check(self) -> None:
        """Raise the thread's error, if any, or AssertionError if faults are missing."""
        if self.error is not None:
            raise self.error
        planned = count(self._faults)
        assert len(self.done) + len(self.missed) == planned, f"{len(self.done)} of {planned} faults happened"
        assert not planned or len(self.done) > planned / 2, (
            f"only {len(self.done)} of {planned}: {self.missed} were missed"
        )

    def _run(self) -> None:
        try:
            self._inject()
        except BaseException as error:
            self.error = error

    def _inject(self) -> None:
        started = time.monotonic()
        for fault in self._faults:
            if self._stop.wait(max(0.0, started + fault.at - time.monotonic())):
                return
            self._begin(fault)

    def _begin(self, fault: Fault) -> None:
        began, lasting = time.time(), []
        for target in fault.targets:
            try:
                undo = self._harms[fault.kind](target)
            except OSError as error:
                self.missed.append(f"{fault.kind} {target}: {error}")
                continue
            if undo is None:
                self.done.append(InjectedFault(fault.kind, target, began, time.time()))
            else:
                lasting.append((target, undo))
        timer = threading.Timer(fault.seconds, partial(self._end, fault.kind, began, lasting))
        timer.daemon = True
        self._undos.append(timer)
        timer.start()

    def _end(self, kind: Kind, began: float, lasting: Sequence[tuple[str, Undo]]) -> None:
        for target, undo in lasting:
            try:
                undo()
            except BaseException as error:
                self.error = error
            self.done.append(InjectedFault(kind, target, began, time.time()))

    def _kill(self, target: str) -> None:
        send(family(self._system, target), signal.SIGKILL)

    def _freeze(self, target: str) -> Undo:
        frozen = family(self._system, target)
        send(frozen, signal.SIGSTOP)
        return partial(send, frozen, signal.SIGCONT)


def family(system: System, target: str) -> list[psutil.Process]:
    """Return a process and its children; raise ProcessLookupError if it is dead at the moment."""
    pid = system.processes.get(target)
    with contextlib.suppress(psutil.NoSuchProcess):
        if pid is not None and (found := psutil.Process(pid)).status() != psutil.STATUS_ZOMBIE:
            return [found, *found.children(recursive=True)]
    raise ProcessLookupError("the process is dead")


def send(processes: Sequence[psutil.Process], number: signal.Signals) -> None:
    """Send a signal to the processes that are still alive; after SIGSTOP none of them runs.

    The kernel stops a process when one of its threads takes the signal. On a busy machine the
    others run meanwhile, long enough to answer a request.
    """
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)
    if number == signal.SIGSTOP:
        for process in processes:
            _wait_stopped(process)


def _wait_stopped(process: psutil.Process) -> None:
    """Wait until every thread of a process has stopped, or the process has ended."""
    end = time.monotonic() + STOP_SECONDS_MAX
    with contextlib.suppress(psutil.NoSuchProcess):
        while not _is_stopped(process) and process.status() != psutil.STATUS_ZOMBIE:
            if time.monotonic() > end:
                raise TimeoutError(f"process {process.pid} runs {STOP_SECONDS_MAX} s after SIGSTOP")
            time.sleep(POLL_SECONDS)


def _is_stopped(process: psutil.Process) -> bool:
    threads = Path(f"/proc/{process.pid}/task")
    if not threads.is_dir():  # no Linux: psutil knows the process only
        return process.status() == psutil.STATUS_STOPPED
    states = []
    for each in threads.iterdir():
        with contextlib.suppress(OSError):  # the thread has ended
            states.append((each / "stat").read_text(errors="replace").rpartition(")")[2].split()[0])
    return bool(states) and set(states) <= STOPPED
