"""Injects the scheduled faults: SIGKILL and SIGSTOP to processes and their children, and the other
kinds.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil

from sidecart.launcher.deadline import Deadline
from sidecart.launcher.lifecycle.system import System
from sidecart.testkit.faults.schedule import Fault, Kind, count

UNDO_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 10.0
POLL_SECONDS = 0.001
STOPPED = {"T", "t", "Z", "X"}
"""The states in /proc of a thread that has stopped, or ended."""

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
        Deadline().until(
            lambda: all(map(_is_stopped, processes)),
            STOP_SECONDS_MAX,
            lambda: f"a process runs {STOP_SECONDS_MAX} s after SIGSTOP",
            POLL_SECONDS,
        )


def _is_stopped(process: psutil.Process) -> bool:
    """Return whether every thread of a process has stopped or ended."""
    with contextlib.suppress(FileNotFoundError):  # no Linux, or the process has ended
        return set(_states(process.pid)) <= STOPPED
    try:
        return process.status() in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def _states(pid: int) -> Iterator[str]:
    """Yield the state of each thread; raise FileNotFoundError without such a process in /proc."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        try:
            stat = (thread / "stat").read_text(errors="replace")
        except (FileNotFoundError, ProcessLookupError):  # the thread has ended
            continue
        yield stat.rpartition(")")[2].split()[0]
