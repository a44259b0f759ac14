"""Ports of an app: bound before anything starts, on IPv4 and IPv6; a port in use costs one line."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import pytest

from sidecart.chassis.connections import Connections
from sidecart.chassis.server.listen import bound
from sidecart.chassis.settings import SettingError
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.environment import plain_environment
from sidecart.launcher.ports import free_port
from sidecart.launcher.project import root

HOSTS = ["127.0.0.1", "::1"]


def soon(condition: Callable[[], bool]) -> bool:
    """Wait up to 60 s, for a busy machine, until the condition is true."""
    Deadline().until(condition, 60, lambda: "the condition never became true")
    return True


def environment(**more: str) -> Mapping[str, str]:
    """Return the environment of the User Service, without a sidecar."""
    tokens = {"APP_API_TOKEN": "in", "DAPR_API_TOKEN": "out"}
    ports = {name: str(free_port()) for name in ("APP_PORT", "METRICS_PORT", "DAPR_HTTP_PORT", "DAPR_GRPC_PORT")}
    return {**plain_environment(), **tokens, **ports, **more}


def app(env: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    """Start the User Service as a process."""
    with log.open("wb") as output:
        command = [sys.executable, "-m", "services.user.app"]
        return subprocess.Popen(command, cwd=root(), env=dict(env), stdout=output, stderr=output)


@pytest.mark.parametrize("name", ["APP_PORT", "METRICS_PORT"])
@pytest.mark.parametrize("host", HOSTS)
def test_a_port_in_use_is_one_line(name: str, host: str, tmp_path: Path) -> None:
    """A port in use ends the process with code 1 and one line: the setting and the address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, free_port()), family=family) as listener:
        port, log = listener.getsockname()[1], tmp_path / "log"
        env = environment(**{name: str(port), "APP_HOST": host, "METRICS_HOST": host})
        code = app(env, log).wait(60)

    where = f"[{host}]" if ":" in host else host
    assert (1, f"setting {name}: {where}:{port}: {os.strerror(98)}\n") == (code, log.read_text())


@pytest.mark.parametrize(("host", "url"), [("::1", "[::1]"), ("[::1]", "[::1]"), ("127.0.0.1", "127.0.0.1")])
def test_an_app_serves_on_its_configured_hosts(host: str, url: str, tmp_path: Path) -> None:
    """The app and its metrics serve on their hosts, and SIGTERM causes no traceback."""
    env, log = environment(APP_HOST=host, METRICS_HOST=host, DAPR_HOST=host), tmp_path / "log"
    running = app(env, log)
    try:
        for port, path in ((env["METRICS_PORT"], "/metrics"), (env["APP_PORT"], "/readyz")):
            assert soon(partial(answers, f"http://{url}:{port}{path}")), log.read_text()
    finally:
        running.terminate()
        code = running.wait(60)

    assert -signal.SIGTERM == code  # uvicorn exits by the signal that stopped it
    assert "Traceback" not in log.read_text()


def answers(url: str) -> bool:
    """Return whether the URL returns any response."""
    try:
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=2).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def test_a_caller_is_refused_until_the_app_listens() -> None:
    """A bound port refuses connections, so that a health check does not wait for a loading app."""
    [listener] = bound("APP_PORT", "127.0.0.1", free_port())
    with listener, pytest.raises(ConnectionRefusedError):
        socket.create_connection(listener.getsockname(), timeout=2)


def test_a_name_with_two_addresses_is_served_at_both() -> None:
    """A name such as `localhost` is served on all of its addresses."""
    port = free_port()
    found = {each[4][:2] for each in socket.getaddrinfo("localhost", port, type=socket.SOCK_STREAM)}
    listeners = bound("APP_PORT", "localhost", port)
    try:
        assert found == {each.getsockname()[:2] for each in listeners}
    finally:
        for each in listeners:
            each.close()


def test_an_unknown_host_names_the_setting() -> None:
    """An unknown host raises SettingError with the setting's name."""
    with pytest.raises(SettingError, match=r"^setting APP_PORT: no\.such\.host\.invalid:80: "):
        bound("APP_PORT", "no.such.host.invalid", 80)


@pytest.mark.parametrize(("host", "host_header"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
def test_a_sidecar_is_called_over_ipv4_and_ipv6(host: str, host_header: str) -> None:
    """The Host header has brackets around an IPv6 address, to separate it from the port."""
    requests: list[bytes] = []

    ended = asyncio.Event()

    async def sidecar(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await reader.read()  # until the caller closes the connection
        writer.close()
        ended.set()

    async def call() -> tuple[int, int]:
        server = await asyncio.start_server(sidecar, host, 0)
        port = server.sockets[0].getsockname()[1]
        connections = Connections(host, port, {}, 1)
        answer = await connections.request("GET", "/", None, "", 10)
        connections.close()
        await ended.wait()
        server.close()
        await server.wait_closed()
        return answer.status, port

    status, port = asyncio.run(call())
    assert 204 == status
    assert f"host: {host_header}:{port}\r\n".encode() in requests[0]
