"""Starts the broker and the store, or waits for those that run outside the launcher."""

from __future__ import annotations

from sidecart.launcher import blocking_errors
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.lifecycle.options import Report
from sidecart.launcher.lifecycle.state import State
from sidecart.launcher.ports import free_port
from sidecart.launcher.servers.server import Server

EXTERNAL_SECONDS = 30
"""How long to wait for an external server, which may be starting."""


class ServerProcesses:
    """The servers of one system."""

    def __init__(self, state: State, report: Report, deadline: Deadline) -> None:
        self._state = state
        self._report = report
        self._deadline = deadline

    def start(self) -> None:
        """Start each server and wait until it serves; wait for those that run already."""
        plan = self._state.plan
        for env, server in plan.servers.items():
            external = plan.options.external.get(env)
            address = self._wait_for(server, external) if external else self._started(server)
            self._state.addresses[env] = address
            if not external:
                server.admit(address, plan.data)
            elif not plan.options.app_logins:  # then each app's own schema has what it needs
                server.prepare(address)

    def _started(self, server: Server) -> str:
        self._report(f"starting {server.names[0]}")
        self._state.plan.data.mkdir(parents=True, exist_ok=True)
        ports = self._state.ports
        for name in server.ports:
            ports[name] = free_port()
        return server.start(self._state.processes, self._state.plan.data, self._deadline, ports)

    def launch(self, server: Server) -> str:
        """Start the missing processes of a server; return its address without waiting."""
        ports = [self._state.ports[name] for name in server.ports]
        return server.launch(self._state.processes, self._state.plan.data, ports, self._deadline)

    def _wait_for(self, server: Server, address: str) -> str:
        """Wait for an external server, which may be starting; return its address."""
        problem = server.check(address)
        if problem is not None:
            _raise_if_refused(problem)
            self._report(f"waiting up to {EXTERNAL_SECONDS} s: {problem}")

        def late() -> str:
            return f"the external server cannot be used: {problem}"

        def answers() -> bool:
            nonlocal problem
            problem = server.check(address)
            _raise_if_refused(problem or "")
            return problem is None

        self._deadline.until(answers, EXTERNAL_SECONDS, late, step_seconds=0.5)
        return address

    def warnings(self) -> list[str]:
        """Return what will soon keep a server from taking writes."""
        state = self._state
        found = (server.warning(state.addresses[env]) for env, server in state.plan.servers.items())
        return [each for each in found if each is not None]

    def problem(self) -> str | None:
        """Return why a sidecar would fail if it started now, or None.

        A sidecar needs its broker and its store.
        """
        state = self._state
        for env, server in state.plan.servers.items():
            is_external = bool(state.plan.options.external.get(env))
            if not is_external and not state.processes.is_alive(server.names[0]):
                return f"{server.names[0]} is unreachable"
            problem = server.check(state.addresses[env])
            if problem is not None:
                return problem
        return None


def _raise_if_refused(problem: str) -> None:
    """Raise LaunchError if a server answers with a refusal.

    A server that is still starting does not answer.
    """
    found = blocking_errors.first_in([problem])
    if found is not None:
        raise LaunchError(f"the external server cannot be used: {problem}\nTo fix it, {found.remedy}.")
