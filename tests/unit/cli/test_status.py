"""`sidecart status` prints the processes as a table or as JSON."""

import json
import os
from dataclasses import replace

import pytest

from sidecart.cli.__main__ import main
from sidecart.launcher import runfile
from sidecart.launcher.ports import free_port

PID = os.getpid()
RUNNING = runfile.RunFile(
    launcher=PID,
    broker="redis",
    store="postgres",
    ready=True,
    url="http://127.0.0.1:8000",
    processes={"valkey": PID},
    ports={"valkey": 6379},
    tokens={"gateway": "in"},
)


def running(system: runfile.RunFile | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this the running system."""
    monkeypatch.setattr(runfile, "read", lambda: system)


def test_the_table_has_a_line_for_each_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code is 0 if all are up and ready."""
    running(RUNNING, monkeypatch)

    assert 0 == main(["status"])
    lines = capsys.readouterr().out.splitlines()
    assert "broker redis, store postgres, gateway http://127.0.0.1:8000" == lines[0]
    assert ["valkey", str(PID), "6379", "up"] == lines[3].split()


def test_an_app_that_is_not_ready_is_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code is 1; the port of the metrics is in the last line."""
    ports = {"gateway": free_port(), "gateway-metrics": 9}
    running(replace(RUNNING, processes={"gateway": PID}, ports=ports), monkeypatch)

    assert 1 == main(["status"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[3].endswith("  not ready: no answer")
    assert "metrics (http://127.0.0.1:PORT/metrics): gateway 9" == lines[-1]


def test_each_replica_is_asked_whether_it_is_ready(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A further replica is no other process."""
    names = ["gateway-1", "order-2", "order-2-sidecar"]
    ports = {name: free_port() for name in names}
    tokens = dict.fromkeys([*names, "gateway"], "in")
    running(replace(RUNNING, processes=dict.fromkeys(names, PID), ports=ports, tokens=tokens), monkeypatch)

    assert 1 == main(["status"])
    lines = capsys.readouterr().out.splitlines()[3:6]
    assert ["not ready: no answer", "not ready: no answer", "up"] == [each.split("  ")[-1] for each in lines]


def test_the_ports_of_many_metrics_are_wrapped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A terminal would break them anywhere."""
    names = [f"sidecar-of-{number}" for number in range(20)]
    ports = {f"{name}-metrics": 10_000 + number for number, name in enumerate(names)}
    running(replace(RUNNING, processes=dict.fromkeys(names, PID), ports=ports), monkeypatch)

    main(["status"])
    lines = capsys.readouterr().out.splitlines()
    first = next(number for number, each in enumerate(lines) if each.startswith("metrics (http"))
    assert [] == [each for each in lines[first:] if len(each) > 100]
    assert [f"{name} {10_000 + number}" for number, name in enumerate(names)] == (
        " ".join(each.strip() for each in lines[first:]).partition("): ")[2].split(", ")
    )


def test_the_system_is_one_json_object_on_request(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A port or an address that does not exist is null."""
    running(replace(RUNNING, processes={"valkey": PID, "proxy": PID}), monkeypatch)

    assert 0 == main(["status", "--json"])
    assert {
        "state": "running",
        "launcher": PID,
        "url": "http://127.0.0.1:8000",
        "broker": "redis",
        "store": "postgres",
        "components": None,
        "mail_url": None,
        "monitor_url": None,
        "processes": [
            {"name": "valkey", "pid": PID, "port": 6379, "metrics_port": None, "state": "up"},
            {"name": "proxy", "pid": PID, "port": None, "metrics_port": None, "state": "up"},
        ],
        "warnings": [],
        "progress": {"consumers": [], "kept": [], "trimmed_at": None, "stuck": [], "problems": []},
    } == json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("system", "state"), [(None, "stopped"), (replace(RUNNING, ready=False, processes={}), "starting")]
)
def test_the_state_is_in_the_json_of_a_system_that_is_not_ready(
    system: runfile.RunFile | None, state: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code is 1, and there are no processes."""
    running(system, monkeypatch)

    assert 1 == main(["status", "--json"])
    shown = json.loads(capsys.readouterr().out)
    assert (state, []) == (shown["state"], shown["processes"])
