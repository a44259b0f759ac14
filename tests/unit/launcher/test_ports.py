"""Allocated ports are free, on loopback, below the ephemeral range, and unique."""

import random
import socket
import subprocess
import sys

import pytest

from sidecart.launcher import ports
from sidecart.launcher.ports import HIGHEST, LOWEST, free_port, is_free, is_listening
from sidecart.launcher.project import root


def test_a_port_is_allocated_once() -> None:
    """Two callers never get the same port, even if neither has bound it yet."""
    ports = [free_port() for _ in range(200)]

    assert len(ports) == len(set(ports))
    assert all(LOWEST <= port < HIGHEST for port in ports)


def test_a_port_with_a_listener_is_not_free() -> None:
    """A listener on one interface is enough."""
    with socket.create_server(("127.0.0.1", free_port())) as server:
        port = server.getsockname()[1]

        assert not is_free(port)
        assert is_listening(port)
    assert is_free(port)
    assert not is_listening(port)


def test_a_port_of_another_launcher_is_not_allocated(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process listens on the port yet; it becomes free when the other launcher ends."""
    seed = random.random()
    code = f"import random; from sidecart.launcher import ports; ports._random = random.Random({seed})"
    code += "; print(ports.free_port(), flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root()
    ) as other:
        assert other.stdout is not None
        taken = int(other.stdout.readline())

        monkeypatch.setattr(ports, "_random", random.Random(seed))
        assert is_free(taken)
        assert taken != free_port()

        other.communicate("\n")
    monkeypatch.setattr(ports, "_random", random.Random(seed))
    assert taken == free_port()
