"""The program that trims: its login, its metrics, what it prints, and how it starts and stops."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import valkey as client_of
from prometheus_client import REGISTRY

from sidecart.launcher.deadline import Deadline
from sidecart.launcher.environment import plain_environment
from sidecart.launcher.permissions import TRIMMER
from sidecart.launcher.ports import free_port
from sidecart.launcher.processes import Processes
from sidecart.launcher.project import root
from sidecart.launcher.servers import valkey
from sidecart.launcher.servers.trimmer import Trimmer
from sidecart.launcher.streams import RETENTION, RETENTION_SECONDS_MIN, streams

SERVER = valkey.Valkey()
PROGRAM = [sys.executable, "-m", SERVER.trimmer_module]
TOPIC, RECORD = "OrderPaid", "user||user:1"
SECONDS = 20


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the server's data."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def address(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a server for the module; return its address with the administrator's login."""
    processes = Processes(tmp_path_factory.mktemp("logs"))
    try:
        yield SERVER.start(processes, data, Deadline())
    finally:
        processes.stop([valkey.NAME], valkey.STOP_SECONDS)


@pytest.fixture
def own(address: str, data: Path) -> str:
    """The address with the trimmer's login."""
    return SERVER.address_of(TRIMMER, address, data)


@pytest.fixture
def administrator(address: str) -> Iterator[client_of.Valkey]:
    """A client with all rights, on a server with one old event, one new one and a record."""
    with client_of.Valkey.from_url(f"redis://{address}") as client:
        client.flushall()
        client.xgroup_create(TOPIC, "notification", id="0", mkstream=True)
        client.xadd(TOPIC, {"data": "{}"}, id="1-0")
        client.xadd(TOPIC, {"data": "{}"})
        client.hset(RECORD, "data", "{}")
        yield client


def value(name: str, **labels: str) -> float:
    """Return the value of a series of this process."""
    found = REGISTRY.get_sample_value(name, labels)
    assert found is not None, name
    return found


def process_all(client: client_of.Valkey) -> None:
    """Read and acknowledge every event as the Notification Service does."""
    found: Any = client.xreadgroup("notification", "notification", {TOPIC: ">"})  # the stub allows a coroutine
    for _, entries in found:
        client.xack(TOPIC, "notification", *(each for each, _ in entries))


@pytest.mark.parametrize(
    "command",
    [
        ("XADD", TOPIC, "*", "data", "{}"),
        ("XREADGROUP", "GROUP", "notification", "x", "STREAMS", TOPIC, ">"),
        ("XACK", TOPIC, "notification", "1-0"),
        ("XCLAIM", TOPIC, "notification", "x", "0", "1-0"),
        ("XDEL", TOPIC, "1-0"),
        ("XGROUP", "CREATE", TOPIC, "x", "0"),
        ("XGROUP", "DESTROY", TOPIC, "notification"),
        ("XTRIM", "Unknown", "MAXLEN", "0"),
        ("DEL", TOPIC),
        ("EXPIRE", TOPIC, "1"),
        ("HGETALL", RECORD),
        ("HSET", RECORD, "data", "[]"),
        ("XTRIM", RECORD, "MAXLEN", "0"),
        ("EVAL", "return redis.call('HGETALL', KEYS[1])", "1", RECORD),
        ("EVAL", "return redis.call('HGETALL', 'user||user:1')", "0"),
        ("EVAL", "return redis.call('XADD', KEYS[1], '*', 'data', '{}')", "1", TOPIC),
        ("KEYS", "*"),
        ("SCAN", "0"),
        ("CONFIG", "GET", "*"),
        ("ACL", "LIST"),
        ("SCRIPT", "FLUSH"),
        ("FLUSHALL",),
    ],
    ids=" ".join,
)
def test_its_login_can_do_nothing_else(own: str, administrator: client_of.Valkey, command: tuple[str, ...]) -> None:
    """It may not publish, read as a consumer, acknowledge, remove one event, or reach a record."""
    with (
        client_of.Valkey.from_url(f"redis://{own}") as client,
        pytest.raises(client_of.ResponseError, match=r"permission|ACL failure"),
    ):
        client.execute_command(*command)

    assert 2 == administrator.xlen(TOPIC)


def test_it_trims_with_its_login_and_counts(own: str, administrator: client_of.Valkey) -> None:
    """The old event goes once its group has acknowledged it; the new one stays."""
    trimmer = Trimmer(own, streams(), RETENTION_SECONDS_MIN)
    before = value("sidecart_trimmed_entries_total", topic=TOPIC)

    trimmer.look()
    assert 2 == administrator.xlen(TOPIC) == value("sidecart_stream_entries", topic=TOPIC)
    assert 2 == value("sidecart_stream_lag_entries", topic=TOPIC)
    assert 1_000_000_000 < value("sidecart_stream_lag_seconds", topic=TOPIC)

    process_all(administrator)
    trimmer.look()
    assert 1 == administrator.xlen(TOPIC) == value("sidecart_stream_entries", topic=TOPIC)
    assert 0 == value("sidecart_stream_lag_entries", topic=TOPIC) == value("sidecart_stream_lag_seconds", topic=TOPIC)
    assert 1 == value("sidecart_trimmed_entries_total", topic=TOPIC) - before
    assert 1_000_000_000 < value("sidecart_trimmer_passed_timestamp_seconds")


def test_it_prints_which_group_is_behind(
    own: str, administrator: client_of.Valkey, capsys: pytest.CaptureFixture[str]
) -> None:
    """Once when it begins, and once when it ends."""
    trimmer = Trimmer(own, streams(), RETENTION_SECONDS_MIN)
    line = f"{TOPIC}: notification needs entries that are older than {RETENTION_SECONDS_MIN} s"

    trimmer.look()
    trimmer.look()
    assert [line] == capsys.readouterr().out.splitlines()
    process_all(administrator)
    trimmer.look()
    trimmer.look()
    assert [f"no longer: {line}"] == capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("right", ["xtrim", "xinfo|groups", "xpending", "xrange", "xlen", "eval", "time"])
def test_it_prints_a_missing_right_and_goes_on(
    address: str, administrator: client_of.Valkey, capsys: pytest.CaptureFixture[str], right: str
) -> None:
    """The login of an external server may lack it; the pass counts as failed."""
    administrator.xreadgroup("notification", "notification", {TOPIC: ">"})
    administrator.acl_setuser("lacking", enabled=True, nopass=True, keys=["*"], commands=["+@all", f"-{right}"])
    trimmer = Trimmer(f"lacking:x@{address.rpartition('@')[2]}", {TOPIC: frozenset()}, RETENTION_SECONDS_MIN)
    passed, errors = value("sidecart_trimmer_passed_timestamp_seconds"), value("sidecart_trimmer_errors_total")

    trimmer.look()

    [line] = capsys.readouterr().out.splitlines()
    assert right in line.lower()
    assert (passed, errors + 1) == (
        value("sidecart_trimmer_passed_timestamp_seconds"),
        value("sidecart_trimmer_errors_total"),
    )
    administrator.acl_setuser("lacking", enabled=True, commands=["+@all"])
    trimmer.look()
    assert [f"no longer: {line}"] == [
        each for each in capsys.readouterr().out.splitlines() if each.startswith("no longer")
    ]
    assert passed < value("sidecart_trimmer_passed_timestamp_seconds")


def test_a_right_that_every_stream_needs_is_one_short_line(
    address: str, administrator: client_of.Valkey, capsys: pytest.CaptureFixture[str]
) -> None:
    """It names the first topics and the number of the others."""
    administrator.acl_setuser("lacking", enabled=True, nopass=True, keys=["*"], commands=["+@all", "-eval"])

    Trimmer(f"lacking:x@{address.rpartition('@')[2]}", streams(), RETENTION_SECONDS_MIN).look()

    [line] = capsys.readouterr().out.splitlines()
    assert f" and {len(streams()) - 3} more: " in line


def test_one_wrong_key_does_not_keep_the_other_streams(
    own: str, administrator: client_of.Valkey, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another program of the server may use a topic's name."""
    process_all(administrator)
    administrator.set("UserCreated", "no stream")

    Trimmer(own, streams(), RETENTION_SECONDS_MIN).look()

    assert 1 == administrator.xlen(TOPIC)
    [line] = capsys.readouterr().out.splitlines()
    assert line.startswith("UserCreated: WRONGTYPE")


def test_an_unreachable_broker_is_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    """The message has no password."""
    trimmer = Trimmer(f"trimmer:secret@127.0.0.1:{free_port()}", streams(), RETENTION_SECONDS_MIN)

    trimmer.look()
    trimmer.look()

    [line] = capsys.readouterr().out.splitlines()
    assert line.startswith("the broker cannot be used: REDIS_HOST=127.0.0.1:")
    assert "secret" not in line


def test_the_program_serves_its_metrics_and_stops(own: str, administrator: client_of.Valkey, tmp_path: Path) -> None:
    """It touches the file of the probes, and SIGTERM ends it with the code 0."""
    process_all(administrator)
    port, alive = free_port(), tmp_path / "alive"
    env = {**plain_environment(), **SERVER.variables(own), RETENTION: "10", "METRICS_PORT": str(port)}
    with subprocess.Popen([*PROGRAM, "--alive", str(alive)], env=env, cwd=root()) as process:
        try:
            Deadline().until(lambda: administrator.xlen(TOPIC) == 1, SECONDS, lambda: "it does not trim", 0.05)
            found = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
        finally:
            process.send_signal(signal.SIGTERM)
        assert 0 == process.wait(SECONDS)

    assert alive.exists()
    assert f'sidecart_stream_entries{{topic="{TOPIC}"}}' in found
    assert "_created" not in found


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        (RETENTION, "9"),
        (RETENTION, str(7 * 86_400 + 1)),
        (RETENTION, "1h"),
        ("METRICS_PORT", "0"),
        ("REDIS_HOST", ""),
        ("REDIS_HOST", "::1"),
    ],
)
def test_a_wrong_setting_stops_it_by_name(name: str, wrong: str) -> None:
    """One line, and no traceback."""
    env = {**plain_environment(), "REDIS_HOST": "127.0.0.1:1", name: wrong}

    found = subprocess.run(PROGRAM, env=env, cwd=root(), capture_output=True, text=True, check=False)

    assert 1 == found.returncode
    assert name in found.stderr
    assert 1 == len(found.stderr.splitlines())


def test_its_help_names_the_arguments() -> None:
    """Without any setting."""
    env = {**plain_environment(), "PATH": os.environ["PATH"]}
    found = subprocess.run([*PROGRAM, "--help"], env=env, cwd=root(), capture_output=True, text=True, check=True)

    assert "--alive FILE" in found.stdout
