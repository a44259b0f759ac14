"""Errors before the start are reported in one line, and nothing starts."""

import socket
from pathlib import Path

import pytest

from sidecart.cli import run as module
from sidecart.cli.__main__ import main
from sidecart.launcher import runfile
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.lifecycle.system import Options, System
from sidecart.launcher.ports import free_port
from sidecart.launcher.servers import rabbitmq

STARTING = runfile.RunFile(1, "redis", "redis")


def test_a_second_start_is_refused(tmp_path: Path) -> None:
    """One folder has one launcher, and the lock ends with it."""
    with (
        runfile.held(STARTING, tmp_path),
        pytest.raises(LaunchError, match="already running"),
        runfile.held(STARTING, tmp_path),
    ):
        pass

    with runfile.held(STARTING, tmp_path):
        assert runfile.is_locked(tmp_path)
    assert not runfile.is_locked(tmp_path)


def test_a_killed_launchers_file_is_ignored(tmp_path: Path) -> None:
    """A run file counts only while its launcher holds the lock."""
    runfile.RunFile(1, "redis", "redis", ready=True).write(tmp_path)

    assert runfile.read(tmp_path) is None
    with runfile.held(STARTING, tmp_path):
        assert runfile.read(tmp_path) is not None


def test_only_its_owner_reads_the_tokens(tmp_path: Path) -> None:
    """The run file holds the shop's tokens."""
    with runfile.held(STARTING, tmp_path):
        assert (tmp_path / runfile.FILE).stat().st_mode & 0o777 == 0o600


def test_a_port_in_use_is_reported_before_anything_starts(tmp_path: Path) -> None:
    """The error names the port; there is no process and no data folder."""
    with socket.create_server(("127.0.0.1", free_port())) as server:
        port = server.getsockname()[1]
        system = System(Options("redis", port=port, folder=tmp_path), print)

        with pytest.raises(LaunchError, match=f"port {port} is in use"):
            system.start()

    assert not system.started
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_broker_is_reported_with_the_known_ones(tmp_path: Path) -> None:
    """BROKER may come from the environment, where no parser checks it."""
    with pytest.raises(LaunchError, match="choose from redis, rabbitmq"):
        System(Options("carrier-pigeon", folder=tmp_path), print)


def test_a_broker_that_is_not_installed_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the command to run, and an external server makes it unnecessary."""
    monkeypatch.setattr(rabbitmq, "SERVER_SCRIPT", tmp_path / "nowhere")
    monkeypatch.delenv("AMQP_URL", raising=False)

    assert "make system-deps" in str(rabbitmq.RabbitMq().unavailable())
    monkeypatch.setenv("AMQP_URL", "amqp://somewhere")
    assert rabbitmq.RabbitMq().unavailable() is None


@pytest.mark.parametrize("port", ["0", "65536", "http", "-1"])
def test_a_malformed_port_is_refused(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The message names the option and the variable; the exit code is 2."""
    assert 2 == main(["run", f"--port={port}"])
    assert "Invalid value for '--port' (env var: 'PORT'): " in capsys.readouterr().err


@pytest.mark.parametrize("address", ["amqp://guest:secret@127.0.0.1:1", "not a url"])
def test_an_unreachable_external_broker_is_reported_in_one_line(address: str) -> None:
    """The reason names the host and never the password."""
    problem = rabbitmq.RabbitMq().check(address)

    assert problem is not None
    assert "secret" not in problem
    assert "\n" not in problem


def test_the_calls_to_try_are_the_projects(monkeypatch: pytest.MonkeyPatch) -> None:
    """The text has braces of its own, so only the address is filled in."""
    monkeypatch.setattr(module, "declared_text", lambda name: "curl {url}/x -d '{\"a\": {}}' {url}")

    assert "curl http://h:1/x -d '{\"a\": {}}' http://h:1" == module.example_calls("http://h:1")


def test_a_choice_on_the_command_line_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without either, both are redis; an empty variable counts as none."""
    monkeypatch.setenv("BROKER", "rabbitmq")
    monkeypatch.setenv("STORE", "")

    assert ("rabbitmq", "redis") == chosen_servers()
    assert ("redis", "postgres") == chosen_servers("--broker", "redis", "--store", "postgres")


def chosen_servers(*words: str) -> tuple[str, str]:
    """Return the broker and the store that `sidecart run` chooses."""
    chosen = module.command.make_context("run", list(words)).params
    return chosen["broker"], chosen["store"]
