"""Servers start with the system, or run already."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from sidecart.launcher.deadline import Deadline
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.lifecycle import server_processes as module
from sidecart.launcher.lifecycle.options import Options
from sidecart.launcher.lifecycle.plan import plan_of
from sidecart.launcher.lifecycle.server_processes import ServerProcesses
from sidecart.launcher.lifecycle.state import State
from sidecart.launcher.processes import Processes
from sidecart.launcher.servers.server import Server


class Fake(Server):
    """A server that is a sleeping process."""

    env = "FAKE_URL"
    names = ("fake",)
    ports = ("fake",)
    start_seconds = 10.0
    stop_seconds = 10.0

    def __init__(self, *problems: str | None, program: str = "import time; time.sleep(60)") -> None:
        self.problems = list(problems)
        self.program = program
        self.prepared: list[str] = []
        self.admitted: list[str] = []

    def unavailable(self) -> str | None:
        """Return no reason."""
        return None

    def launch(self, processes: Processes, data: Path, ports: Sequence[int], deadline: Deadline) -> str:
        """Start the process."""
        processes.start("fake", [sys.executable, "-c", self.program], env=dict(os.environ), cwd=data)
        return f"fake:{ports[0]}"

    def check(self, address: str) -> str | None:
        """Return the next problem."""
        return self.problems.pop(0) if self.problems else None

    def login_commands(self, logins: Mapping[str, str], address: str) -> str:
        """Return nothing."""
        return ""

    def admit(self, address: str, data: Path) -> None:
        """Record the address."""
        self.admitted.append(address)

    def prepare(self, address: str) -> None:
        """Record the address."""
        self.prepared.append(address)


def state_with(server: Server, folder: Path, external: Mapping[str, str] | None = None) -> State:
    """A system with this server only."""
    plan = plan_of(Options("redis", folder=folder, external=external or {}))
    return State(replace(plan, servers={server.env: server}))


def test_a_server_is_started_and_prepared(tmp_path: Path) -> None:
    """The start waits until the server answers, and its address is known then."""
    server, reports = Fake("starting", "starting", None), list[str]()
    state = state_with(server, tmp_path)
    ServerProcesses(state, reports.append, Deadline()).start()
    state.processes.stop(["fake"], 10)

    assert [] == server.problems
    assert [f"fake:{state.ports['fake']}"] == server.admitted == list(state.addresses.values())
    assert ["starting fake"] == reports


def test_a_server_that_ends_is_reported_with_its_log(tmp_path: Path) -> None:
    """The wait does not last until the timeout."""
    server = Fake(*["starting"] * 1_000, program="")
    state = state_with(server, tmp_path)

    with pytest.raises(LaunchError, match=r"fake stopped while starting: see .*fake\.log"):
        ServerProcesses(state, print, Deadline()).start()
    state.processes.stop(["fake"], 10)


def test_an_external_server_may_be_starting(tmp_path: Path) -> None:
    """The wait is reported once; nothing is started."""
    server, reports = Fake("not yet", "not yet", None), list[str]()
    state = state_with(server, tmp_path, {"FAKE_URL": "there"})
    ServerProcesses(state, reports.append, Deadline()).start()

    assert [f"waiting up to {module.EXTERNAL_SECONDS} s: not yet"] == reports
    assert ({"FAKE_URL": "there"}, {}) == (state.addresses, state.processes.pids())


def test_an_external_server_that_refuses_ends_the_start_at_once(tmp_path: Path) -> None:
    """A wrong password does not become right."""
    server = Fake("NOAUTH Authentication required")

    with pytest.raises(LaunchError, match=r"cannot be used: NOAUTH(.|\n)*To fix it, "):
        ServerProcesses(state_with(server, tmp_path, {"FAKE_URL": "there"}), print, Deadline()).start()


def test_a_sidecar_waits_for_a_server_that_is_down_or_has_a_problem(tmp_path: Path) -> None:
    """An external server has no process to look at."""
    server = Fake()
    managed = state_with(server, tmp_path)
    external = state_with(server, tmp_path, {"FAKE_URL": "there"})
    external.addresses["FAKE_URL"] = "there"

    assert "fake is unreachable" == ServerProcesses(managed, print, Deadline()).problem()
    assert ServerProcesses(external, print, Deadline()).problem() is None
    server.problems = ["full"]
    assert "full" == ServerProcesses(external, print, Deadline()).problem()
