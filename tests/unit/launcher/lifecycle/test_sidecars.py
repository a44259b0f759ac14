"""Sidecars start with the addresses, flags and resources of their system."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import yaml

from sidecart.launcher.daprd import Daprd
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.lifecycle.environments import app_environment
from sidecart.launcher.lifecycle.options import Options
from sidecart.launcher.lifecycle.plan import choose_ports, plan_of
from sidecart.launcher.lifecycle.sidecars import Sidecars, name_resolution
from sidecart.launcher.lifecycle.state import State
from sidecart.launcher.lifecycle.wiring import Wiring
from sidecart.launcher.processes import Processes
from tests.e2e import component_files


class Recorded(Processes):
    """Records the command lines and environments, and starts nothing."""

    def __init__(self) -> None:
        super().__init__(Path())
        self.commands: dict[str, list[str]] = {}
        self.environments: dict[str, dict[str, str]] = {}

    def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> int:
        """Record one start."""
        self.commands[name], self.environments[name] = list(command), dict(env)
        return os.getpid()


class Detour(Wiring):
    """Puts a proxy in front of everything."""

    def port(self, name: str, port: int) -> int:
        """Return the proxy's port."""
        return port + 1

    def address(self, name: str, address: str, port: int | None) -> str:
        """Return the proxy's address."""
        return f"proxy of {name} at {port}"

    def sidecar_flags(self, app_id: str) -> tuple[str, ...]:
        """Return a flag."""
        return ("--flag", app_id)

    def sidecar_env(self, app_id: str) -> dict[str, str]:
        """Return a variable."""
        return {"FOR": app_id}


def started(options: Options, wiring: Wiring, name: str = "order") -> tuple[State, Recorded]:
    """Start the sidecar of a replica."""
    state = State(plan_of(options))
    processes = state.processes = Recorded()
    state.ports |= choose_ports(state.plan) | {"valkey": 4}
    state.addresses = dict.fromkeys(state.plan.servers, "127.0.0.1:4")
    Sidecars(state, wiring).start(name)
    return state, processes


def test_a_sidecar_gets_its_servers_and_keeps_its_ports(tmp_path: Path) -> None:
    """The state knows the sidecar's port and resources."""
    state, processes = started(Options("redis", folder=tmp_path), Wiring())
    known = state.sidecars["order"]
    Sidecars(state, Wiring()).start("order")

    assert known == state.sidecars["order"]
    assert (known.http_port, state.ports["order"]) == (state.ports["order-sidecar"], known.app_port)
    assert "127.0.0.1:4" == processes.environments["order-sidecar"]["REDIS_HOST"]
    assert ["policies", "redis", "redis"] == [folder.name for folder in state.resources["order-sidecar"]]


def test_a_wiring_changes_ports_addresses_and_flags(tmp_path: Path) -> None:
    """Faulty networks and experiments need it."""
    state, processes = started(Options("redis", folder=tmp_path), Detour())
    words, env = processes.commands["order-sidecar"], processes.environments["order-sidecar"]

    assert state.ports["order"] + 1 == state.sidecars["order"].app_port
    assert ("proxy of valkey at 4", "order") == (env["REDIS_HOST"], env["FOR"])
    assert ["--flag", "order"] == words[-2:]


def test_an_app_reaches_both_ports_of_its_sidecar_by_the_wiring(tmp_path: Path) -> None:
    """Faults between the two hit the calls of either API."""
    state, _ = started(Options("redis", folder=tmp_path), Detour())
    env, known = app_environment(state, Detour(), "order"), state.sidecars["order"]

    assert (known.http_port + 1, known.grpc_port + 1) == (int(env["DAPR_HTTP_PORT"]), int(env["DAPR_GRPC_PORT"]))


def test_components_of_a_folder_get_their_own_variables(tmp_path: Path) -> None:
    """They get no address of a server that the launcher knows."""
    folder = component_files.write(tmp_path / "mine", "redis", "redis")
    settings = {
        component_files.BROKER: "b:1",
        component_files.STORE: "s:1",
        "REDIS_HOST": "other:1",
        **component_files.NO_LOGIN,
    }
    state, processes = started(Options(folder=tmp_path, components=folder, settings=settings), Wiring())
    env = processes.environments["order-sidecar"]

    assert ("b:1", "s:1", None) == (env[component_files.BROKER], env[component_files.STORE], env.get("REDIS_HOST"))
    assert folder == state.resources["order-sidecar"][-1]


def test_the_wait_for_components_ends_with_the_sidecar(tmp_path: Path) -> None:
    """A sidecar that reaches no server ends, and the readiness check then shows its log."""
    state, _ = started(Options("redis", folder=tmp_path), Wiring())

    Sidecars(state, Wiring()).wait_for_components("order", Deadline())


@pytest.mark.parametrize(("has_resolver", "component"), [(True, "sqlite"), (False, "mdns")])
def test_each_system_resolves_its_own_names_if_daprd_can(has_resolver: bool, component: str, tmp_path: Path) -> None:
    """Addresses of a stopped system are removed; without the resolver a report warns."""
    (tmp_path / "names.sqlite-wal").touch()
    reports: list[str] = []
    config = name_resolution(tmp_path, Daprd(Path("daprd"), "PATH", has_resolver), reports.append)

    assert component == yaml.safe_load(config.read_text())["spec"]["nameResolution"]["component"]
    assert has_resolver == (tmp_path / "names.sqlite").exists() == (reports == [])
