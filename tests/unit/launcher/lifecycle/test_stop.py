"""All processes stop, in the sequence in which none misses another."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from sidecart.launcher.lifecycle.options import Options
from sidecart.launcher.lifecycle.plan import plan_of
from sidecart.launcher.lifecycle.state import State
from sidecart.launcher.lifecycle.stop import stop_all
from sidecart.launcher.processes import Processes
from sidecart.launcher.sidecar import Sidecar

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
NAMES = (
    "valkey",
    "mail",
    "trimmer",
    "order",
    "order-sidecar",
    "gateway",
    "gateway-sidecar",
    "proxy",
    "monitor",
    "tap-sidecar",
    "sentry",
)


@pytest.fixture
def state(tmp_path: Path) -> State:
    """Running processes with the names of a system's."""
    state = State(plan_of(Options("redis", folder=tmp_path)))
    for name in NAMES:
        state.processes.start(name, SLEEP, env=dict(os.environ), cwd=tmp_path)
    for app_id in ("order", "gateway", "tap"):
        state.sidecars[app_id] = Sidecar(app_id, 1, 2, 3, 4)
    return state


def test_processes_stop_in_groups(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gateways stop first, so that no request arrives; apps outlive the sidecars."""
    groups: list[set[str]] = []
    stop = Processes.stop

    def recorded(self: Processes, names: Sequence[str], seconds: float) -> list[str]:
        groups.append(set(names) & set(self.pids()))
        return stop(self, names, seconds)

    monkeypatch.setattr(Processes, "stop", recorded)
    reports: list[str] = []
    stop_all(state, reports.append)

    assert [
        {"monitor"},
        {"gateway"},
        {"proxy"},
        {"order-sidecar", "gateway-sidecar", "tap-sidecar"},
        {"order", "mail", "trimmer"},
        {"sentry"},
        {"valkey"},
    ] == groups
    assert ({}, []) == (state.processes.pids(), reports)


def test_a_second_stop_does_nothing(state: State) -> None:
    """`with` may follow an explicit stop."""
    stop_all(state, print)
    stop_all(state, print)

    assert {} == state.processes.pids()
