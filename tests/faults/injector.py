"""Does what the schedule says to real processes: SIGKILL and SIGSTOP, to each with all its children."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import psutil

from cli.shop import Shop
from tests.faults.schedule import Fault, count


@dataclass(frozen=True, slots=True)
class Done:
    """A fault that happened: from when until when, in seconds of the wall clock."""

    kind: str
    target: str
    began: float
    ended: float


class Injector:
    """Runs in a thread of its own; the processes are looked up at the moment of the fault."""

    def __init__(self, shop: Shop, faults: Sequence[Fault]) -> None:
        self._shop = shop
        self._faults = faults
        self._thread = threading.Thread(target=self._run, name="injector", daemon=True)
        self._stop = threading.Event()
        self._thaws: list[threading.Timer] = []
        self.done: list[Done] = []
        self.missed: list[str] = []
        """Who was dead already when he was to be hit."""
        self.error: BaseException | None = None

    def start(self) -> None:
        """Begin to count the time."""
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether faults are to come, or anything is still frozen."""
        return self._thread.is_alive() or any(thaw.is_alive() for thaw in self._thaws)

    def stop(self) -> None:
        """No more faults; what is frozen goes on at once."""
        self._stop.set()
        self._thread.join()
        for thaw in self._thaws:
            if thaw.is_alive():
                thaw.cancel()
                thaw.function(*thaw.args)

    def check(self) -> None:
        """Raise what ended the thread, if anything did, and AssertionError if faults are missing."""
        if self.error is not None:
            raise self.error
        wanted = count(self._faults)
        assert len(self.done) + len(self.missed) == wanted, f"{len(self.done)} of {wanted} faults happened"
        assert len(self.done) > wanted / 2, f"only {len(self.done)} of {wanted}: {self.missed} were dead already"

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
            if fault.kind == "kill":
                for target in fault.targets:
                    self._kill(target)
            else:
                self._freeze(fault.targets, fault.seconds)

    def _family(self, target: str) -> list[psutil.Process]:
        """The process and its children; none if it is dead at this moment."""
        pid = self._shop.processes.get(target)
        with contextlib.suppress(psutil.NoSuchProcess):
            if pid is not None and (found := psutil.Process(pid)).status() != psutil.STATUS_ZOMBIE:
                return [found, *found.children(recursive=True)]
        self.missed.append(target)
        return []

    def _kill(self, target: str) -> None:
        family = self._family(target)
        _signal(family, signal.SIGKILL)
        if family:
            self.done.append(Done("kill", target, time.time(), time.time()))

    def _freeze(self, targets: Sequence[str], seconds: float) -> None:
        families = {target: self._family(target) for target in targets}
        frozen = {target: family for target, family in families.items() if family}
        for family in frozen.values():
            _signal(family, signal.SIGSTOP)
        began = time.time()

        def thaw() -> None:
            for target, family in frozen.items():
                _signal(family, signal.SIGCONT)
                self.done.append(Done("freeze", target, began, time.time()))

        timer = threading.Timer(seconds, thaw)
        timer.daemon = True
        self._thaws.append(timer)
        timer.start()


def _signal(family: Sequence[psutil.Process], number: signal.Signals) -> None:
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)
