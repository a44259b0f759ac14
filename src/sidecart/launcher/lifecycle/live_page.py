"""Starts and stops the live page with its sidecar. The system does not need the page."""

from __future__ import annotations

from contextlib import suppress

from sidecart.launcher import monitor
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.lifecycle.consumers import Consumers
from sidecart.launcher.lifecycle.environments import monitor_environment
from sidecart.launcher.lifecycle.options import Report
from sidecart.launcher.lifecycle.sidecars import Sidecars
from sidecart.launcher.lifecycle.state import State
from sidecart.launcher.ports import is_listening
from sidecart.launcher.project import root
from sidecart.launcher.topics import GATEWAY, monitor_subscriptions
from sidecart.launcher.topology import sidecar_of

PROCESSES = (monitor.NAME, sidecar_of(monitor.NAME))


class LivePage:
    """The live page of one system."""

    def __init__(
        self, state: State, sidecars: Sidecars, consumers: Consumers, report: Report, deadline: Deadline
    ) -> None:
        self._state = state
        self._sidecars = sidecars
        self._consumers = consumers
        self._report = report
        self._deadline = deadline

    def start(self) -> None:
        """Start the page and wait until it accepts connections; only report a failure."""
        processes = self._state.processes
        try:
            self.start_sidecar()
            self.start_app()
            self._deadline.until(
                lambda: not processes.is_alive(monitor.NAME) or is_listening(self._state.ports[monitor.NAME]),
                monitor.START_SECONDS,
                lambda: "it does not answer",
            )
        except LaunchError as error:
            self._report(f"the live page did not start: {error}; see {processes.log(monitor.NAME)}")

    def start_app(self) -> None:
        """Start the page next to its sidecar; do not wait for it."""
        env = monitor_environment(self._state)
        self._state.processes.start(monitor.NAME, monitor.COMMAND, env=env, cwd=root())

    def start_sidecar(self) -> None:
        """Start the page's sidecar with the broker's components only."""
        plan = self._state.plan
        folders = monitor.resources(plan.resources(plan.apps[GATEWAY]))
        config = plan.run_folder / f"{monitor.NAME}.yaml"
        monitor.write_configuration(config)
        self._sidecars.start_for(monitor.NAME, None, resources=folders, config=config)

    def stop(self) -> None:
        """Stop the page and its sidecar.

        Either one alone would collect events that no process consumes.
        """
        self._state.processes.stop([monitor.NAME], monitor.STOP_SECONDS)
        self._sidecars.stop(monitor.NAME)
        with suppress(OSError):  # the next start removes the subscriptions
            self._consumers.remove(monitor_subscriptions())
