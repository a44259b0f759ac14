"""Starts sentry before the sidecars, and again after a crash."""

from __future__ import annotations

from pathlib import Path

from sidecart.launcher import sentry
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.environment import plain_environment
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.lifecycle.options import Report
from sidecart.launcher.lifecycle.state import State


class SentryProcess:
    """The sentry of one system. A running sidecar needs it only to renew its certificate."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._program = Path()

    def prepare(self, report: Report, deadline: Deadline) -> None:
        """Find or obtain sentry."""
        self._program = sentry.find(report, deadline)

    def start(self, deadline: Deadline) -> None:
        """Write the files of the run, start sentry, and wait until it signs certificates."""
        self._state.identities.write()
        self.launch()
        processes = self._state.processes
        why: str | None = None

        def ready() -> bool:
            nonlocal why
            if not processes.is_alive(sentry.NAME):
                raise LaunchError(f"{sentry.NAME} stopped while starting: see {processes.log(sentry.NAME)}")
            why = self.problem()
            return why is None

        deadline.until(ready, sentry.START_SECONDS, lambda: f"{why}; see {processes.log(sentry.NAME)}", 0.02)

    def launch(self) -> None:
        """Start sentry with the same authority; do not wait for it."""
        state = self._state
        words = sentry.command(
            self._program,
            state.identities.sentry_configuration,
            state.identities.credentials,
            state.ports[sentry.NAME],
        )
        env = {**plain_environment(), **sentry.environment()}
        state.processes.start(sentry.NAME, words, env=env, cwd=state.identities.folder)

    def problem(self) -> str | None:
        """Return why a sidecar would get no certificate now, or None."""
        return sentry.problem(self._state.ports[sentry.NAME])
