"""Waits until the apps of a system are ready, and finds out why waiting cannot help."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable

from sidecart.launcher import blocking_errors, proxy
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.lifecycle.consumers import Consumers
from sidecart.launcher.lifecycle.options import Report
from sidecart.launcher.lifecycle.plan import MAIL_CATCHER, MAIL_HTTP, MAIL_SMTP
from sidecart.launcher.lifecycle.state import State
from sidecart.launcher.local_http import get
from sidecart.launcher.permissions import TRIMMER
from sidecart.launcher.ports import is_listening
from sidecart.launcher.topics import GATEWAY
from sidecart.launcher.topology import app_of, readers

READY_SECONDS = 180
"""From the start of the apps until the last one is ready. On an idle machine this takes seconds."""
REPORT_SECONDS = 10.0  # between two reports of what is not ready
LOGS_SECONDS = 1.0  # between two checks of the logs for blocking errors
BLOCKING_ERROR_LINES = 200
MAIL_SECONDS = 30
MISSING_SHOWN_MAX = 2
MISSING_CHARACTERS_MAX = 100


class Readiness:
    """Asks the apps of one system whether they are ready."""

    def __init__(self, state: State, consumers: Consumers, deadline: Deadline, report: Report) -> None:
        self._state = state
        self._consumers = consumers
        self._deadline = deadline
        self._report = report
        self._logs_read = 0.0

    def problem(self, name: str, path: str) -> str | None:
        """Return why a replica does not answer with 200, or None."""
        status, body = get(self._state.ports[name], path, self._state.plan.tokens[name])
        if status == 200:
            return None
        return f"{path} returns {status} {body}" if status else "does not answer"

    def is_ready(self, name: str) -> bool:
        """Whether a replica reports itself ready."""
        return self.problem(name, "/readyz") is None

    def wait(self, name: str, seconds: float = READY_SECONDS) -> None:
        """Wait until a restarted replica reports itself ready."""
        self._deadline.until(
            lambda: self.is_ready(name), seconds, lambda: f"{name} is not ready after {seconds} s", 0.1
        )

    def wait_for_all(self) -> None:
        """Wait until every replica is ready and subscribed, and the mail catcher listens.

        Raises LaunchError as soon as waiting cannot help.
        """
        plan = self._state.plan
        waiting = dict.fromkeys((*plan.replicas, *([proxy.NAME] if plan.has_proxy else [])), "has not answered yet")
        reported_at = time.monotonic()

        def ready() -> bool:
            nonlocal reported_at
            self._raise_if_blocked()
            for name in list(waiting):
                # without some apps the gateway never becomes ready
                path = "/healthz" if plan.options.without and app_of(name) == GATEWAY else "/readyz"
                problem = self.problem(name, path)
                if problem is None:
                    del waiting[name]
                else:
                    waiting[name] = problem
            if waiting and time.monotonic() - reported_at > REPORT_SECONDS:
                reported_at = time.monotonic()
                self._report(f"still starting: {', '.join(map(in_words, waiting))}")
            return not waiting

        def reasons() -> str:
            return "; ".join(f"{name}: {problem}" for name, problem in waiting.items())

        def in_words(name: str) -> str:
            reason = _missing(waiting[name])
            return f"{name} ({reason})" if reason else name

        def late() -> str:
            return f"not ready after {READY_SECONDS} s: {reasons()} (logs in {plan.logs})\n{self._log_tails()}"

        self._deadline.until(ready, READY_SECONDS, late, step_seconds=0.1)
        self.wait_for_subscriptions(plan.replicas)
        if plan.has_mail_catcher:
            self._wait_for_mail_catcher()

    def wait_for_subscriptions(self, names: Iterable[str]) -> None:
        """Wait until every subscription of these replicas exists."""
        plan, missing = self._state.plan, list(readers(names, addressed=self._state.plan.is_addressed))

        def all_known() -> bool:
            nonlocal missing
            self._raise_if_blocked()
            missing = self._consumers.missing(missing)
            return not missing

        def late() -> str:
            message = ", ".join(f"{one.consumer_id} on {one.topic}" for one in missing)
            return f"not subscribed after {READY_SECONDS} s: {message} (logs in {plan.logs})"

        self._deadline.until(all_known, READY_SECONDS, late, step_seconds=0.2)

    def _wait_for_mail_catcher(self) -> None:
        ports, log = self._state.ports, self._state.processes.log(MAIL_CATCHER)
        self._deadline.until(
            lambda: is_listening(ports[MAIL_HTTP]) and is_listening(ports[MAIL_SMTP]),
            MAIL_SECONDS,
            lambda: f"the mail catcher did not start: see {log}",
        )

    def _log_tails(self) -> str:
        """Return the last lines of each log: one app's delay often has its cause in another app."""
        processes = self._state.processes
        tails = [(name, processes.last_lines(name, 3)) for name in processes.logged]
        return "\n".join(f"    {name}: {line}" for name, lines in tails for line in lines)

    def _raise_if_blocked(self) -> None:
        """Raise LaunchError if waiting cannot help.

        That is so if a process has ended, or its log names a blocking error on a server.
        """
        processes = self._state.processes
        for name, code in processes.dead().items():
            self._raise_if_log_names_cause(name)
            lines = "\n".join(f"    {line}" for line in processes.last_lines(name))
            raise LaunchError(f"{name} ended with code {code} during the start; its last lines:\n{lines}")
        if time.monotonic() - self._logs_read < LOGS_SECONDS:
            return
        for name in processes.pids():
            if name == TRIMMER:  # the system works without it
                continue
            self._raise_if_log_names_cause(name)
        self._logs_read = time.monotonic()

    def _raise_if_log_names_cause(self, name: str) -> None:
        found = blocking_errors.first_in(self._state.processes.last_lines(name, BLOCKING_ERROR_LINES))
        if found is not None:
            raise LaunchError(f"{name} cannot become ready: {found.reason}\nTo fix it, {found.remedy}.")


def _missing(problem: str) -> str:
    """Return what an app still lacks, by its answer to /readyz; empty if it has not answered."""
    try:
        missing = json.loads(problem[problem.index("{") :])["missing"]
    except (ValueError, LookupError, TypeError):
        return ""
    first = ", ".join(map(str, missing[:MISSING_SHOWN_MAX])) if isinstance(missing, list) else ""
    return first if len(first) <= MISSING_CHARACTERS_MAX else f"{first[:MISSING_CHARACTERS_MAX]}..."
