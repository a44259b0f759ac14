"""Restarts crashed processes: at once, then after growing pauses, up to a limit.

A sidecar ends at startup if its broker, its store or sentry is unreachable, so its restart waits
for them. The supervisor also restarts a sidecar that runs but does not answer, or has lost a
subscription. A component may lose a consumer when its connection breaks.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from sidecart.launcher.errors import LaunchError
from sidecart.launcher.lifecycle.consumers import replicas_reading
from sidecart.launcher.lifecycle.live_page import PROCESSES as PAGE
from sidecart.launcher.lifecycle.system import System
from sidecart.launcher.permissions import TRIMMER
from sidecart.launcher.sidecar import SHUTDOWN_SECONDS
from sidecart.launcher.topics import Subscription
from sidecart.launcher.topology import app_for_sidecar, sidecar_of

# before the second restart in a row; the first has no pause, and each later pause doubles
PAUSE_SECONDS = 1.0
PAUSE_SECONDS_MAX = 30.0
STEADY_SECONDS = 20.0  # a process that has run this long counts as healthy again
ENDS_MAX = 10  # in a row, each within STEADY_SECONDS of its start: more restarts would not help
# the sidecar may finish events in delivery, or may not answer at all
UNRESPONSIVE_STOP_SECONDS = SHUTDOWN_SECONDS + 1.0
LOOK_SECONDS = 5.0  # between two checks of the sidecars and of the broker's readers
# How long a sidecar may read nothing or not answer. It reconnects sooner to a broker that was
# unreachable.
LOST_SECONDS = 30.0
SPARE = (*PAGE, TRIMMER)
"""The processes without which the system works."""


@dataclass(slots=True)
class _ProcessState:
    """One process: how often it ended in a row, and when it restarts."""

    started: float = 0.0
    ends: int = 0
    due: float | None = None  # None while the process runs


class Supervisor:
    """Keeps the processes of one system alive.

    Call `look` several times a second from the thread that started the system.
    """

    def __init__(
        self,
        system: System,
        report: Callable[[str], None],
        changed: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._system = system
        self._report = report
        self._changed = changed
        self._given_up: set[str] = set()
        self._clock = clock
        self._states: dict[str, _ProcessState] = {}
        self._waiting_for: str | None = None
        self._looked = clock()
        self._lost: dict[Subscription, float] = {}
        self._silent: dict[str, float] = {}
        self._is_warned = False
        self.restarts = 0
        self.reloaded: frozenset[str] = frozenset()
        """The apps that restart when their code changes.

        If one of them keeps crashing, it waits for a change instead of ending the system.
        """

    def look(self) -> None:
        """Register ended processes and start those that are due.

        Raises LaunchError if a process ended too often.
        """
        now = self._clock()
        for name, code in list(self._system.dead.items()):
            if name not in self._given_up and self._states.setdefault(name, _ProcessState()).due is None:
                self._note_end(name, code, now)
        due = [name for name, state in self._states.items() if state.due is not None and state.due <= now]
        # Servers first: sidecars need them.
        for name in sorted(due, key=lambda each: (app_for_sidecar(each) is not None, each)):
            self._start(name, now)
        if now - self._looked >= LOOK_SECONDS:
            self._looked = now
            self._check_sidecars(now)
            self._report_warnings()

    def restart(self, name: str) -> None:
        """Restart an app on request, also one that has ended; forget its earlier ends."""
        self._system.stop_app(name)
        self._system.start_app(name)
        self._given_up.discard(name)
        self._states[name] = _ProcessState(started=self._clock())
        self._changed()

    def _note_end(self, name: str, code: int, now: float) -> None:
        state = self._states[name]
        state.ends = 1 if now - state.started > STEADY_SECONDS else state.ends + 1
        if state.ends > ENDS_MAX:
            message = f"{name} ended {state.ends} times in a row, last with code {code}"
            if name in SPARE:
                self._give_up(name)
                self._report(f"{message}; the system continues without it (see {self._system.logs / name}.log)")
                self._changed()
                return
            if name in self.reloaded:
                self._given_up.add(name)
                self._states.pop(name)
                self._report(f"{message}; it restarts when its code changes (see {self._system.logs / name}.log)")
                return
            lines = "\n".join(f"    {line}" for line in self._system.state.processes.last_lines(name))
            raise LaunchError(f"{message}; its last lines:\n{lines}")
        pause = 0.0 if state.ends == 1 else min(PAUSE_SECONDS * 2.0 ** (state.ends - 2), PAUSE_SECONDS_MAX)
        state.due = now + pause
        when = "now" if not pause else f"in {pause:.0f} s"
        self._report(f"{name} ended with code {code}: restarting {when} (see {self._system.logs / name}.log)")

    def _give_up(self, name: str) -> None:
        """Stop a part for good: it keeps crashing, and the system can run without it."""
        if name in PAGE:
            self._system.page.stop()
        else:
            self._system.stop_app(name)
        for each in PAGE if name in PAGE else (name,):
            self._given_up.add(each)
            self._states.pop(each, None)

    def _start(self, name: str, now: float) -> None:
        state = self._states[name]
        if app_for_sidecar(name) is not None:
            problem = self._system.health.problem_of_servers()
            if problem is not None:  # not counted: the sidecar would only end again
                state.due = now + PAUSE_SECONDS
                if self._waiting_for is None:
                    self._report(f"sidecar restarts are waiting: {problem}")
                self._waiting_for = problem
                return
            if self._waiting_for is not None:
                self._report("sidecar restarts continue: broker, store and sentry answer")
                self._waiting_for = None
        self._system.starter.start_again(name)
        state.started, state.due = self._clock(), None
        self.restarts += 1
        self._changed()

    def _check_sidecars(self, now: float) -> None:
        try:
            lost = self._system.health.unread_subscriptions()
        except OSError:  # the broker is unreachable, so no sidecar can read
            self._lost.clear()
            self._silent.clear()
            return
        self._lost = {one: self._lost.get(one, now) for one in lost}
        self._silent = {name: self._silent.get(name, now) for name in self._system.health.unresponsive_sidecars()}
        unresponsive = {name: why for name in self._system.replicas if (why := self._sidecar_problem(name, now))}
        for name, why in unresponsive.items():
            self._report(f"{sidecar_of(name)} {why}: restarting it")
            self._system.sidecars.stop(name, UNRESPONSIVE_STOP_SECONDS)
            self._system.starter.start_again(sidecar_of(name))
            self._states.setdefault(sidecar_of(name), _ProcessState()).started = self._clock()
            self.restarts += 1
        if unresponsive:
            self._lost.clear()
            self._silent.clear()
            self._changed()

    def _report_warnings(self) -> None:
        """Report a warning of a server when it begins, not as long as it lasts."""
        warnings = self._system.health.warnings_of_servers()
        if warnings and not self._is_warned:
            for each in warnings:
                self._report(each)
        self._is_warned = bool(warnings)

    def _sidecar_problem(self, name: str, now: float) -> str:
        """Return the lasting problem of a replica's sidecar; empty if there is none."""
        if self._waits(sidecar_of(name)):
            return ""
        if now - self._silent.get(name, now) >= LOST_SECONDS:
            return "does not answer"
        late = [
            one for one, since in self._lost.items() if now - since >= LOST_SECONDS and replicas_reading([name], one)
        ]
        return f"does not read {', '.join(sorted(one.topic for one in late))} correctly" if late else ""

    def _waits(self, name: str) -> bool:
        """Whether a process has ended and waits for its restart; only `look` may start it then."""
        state = self._states.get(name)
        return name in self._system.dead or (state is not None and state.due is not None)
