"""Graceful shutdown, with real processes and real signals."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator

import httpx
import pytest

from sidecart.launcher.ports import free_port, is_listening
from sidecart.launcher.project import root

PROGRAM = """
    import asyncio, sys
    from fastapi import FastAPI
    from sidecart.chassis.server.shutdown import ShutdownSignal
    from sidecart.chassis.server.serve import run
    from sidecart.chassis.settings import Settings

    app, shutdown, slow_calls = FastAPI(), ShutdownSignal(), []

    @app.get("/")
    async def state() -> str:
        return "shutdown" if shutdown.is_set else "open"

    @app.get("/slow-calls")
    async def count() -> int:
        return len(slow_calls)

    @app.get("/slow")
    async def slow() -> str:
        slow_calls.append(1)
        await shutdown.wait()
        await asyncio.sleep(float(sys.argv[3]))
        return "done"

    run(app, Settings("127.0.0.1", int(sys.argv[1]), 1, "token", ""), shutdown, drain_seconds=float(sys.argv[2]))
"""
SECONDS = 20
HEADERS_SECONDS = 1.5
"""uvicorn renews its headers each second."""


class Served:
    """An app in its own process."""

    def __init__(self, drain_seconds: float, slow_seconds: float) -> None:
        self.port = free_port()
        command = [
            sys.executable,
            "-c",
            textwrap.dedent(PROGRAM),
            str(self.port),
            str(drain_seconds),
            str(slow_seconds),
        ]
        self.process = subprocess.Popen(command, cwd=root())
        end = time.monotonic() + SECONDS
        while not is_listening(self.port):
            assert time.monotonic() < end, "the app does not listen"
            time.sleep(0.05)

    def get(self, path: str) -> str:
        """GET over a new connection."""
        return str(httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=SECONDS, trust_env=False).json())

    def until(self, path: str, output: str) -> None:
        """Wait until the path returns this output."""
        end = time.monotonic() + SECONDS
        while self.get(path) != output:
            assert time.monotonic() < end, f"{path} never returned {output}"


@pytest.fixture
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    """Run the app with `drain_seconds` and the duration of its slow response after the signal."""
    made = Served(*request.param)
    yield made
    made.process.kill()
    made.process.wait()


@pytest.mark.parametrize("served", [(5.0, 0.0)], indirect=True)
def test_new_connections_are_accepted_while_draining(served: Served) -> None:
    """After SIGTERM the app reports shutdown, serves while it drains, and exits by that signal."""
    served.process.send_signal(signal.SIGTERM)

    served.until("/", "shutdown")
    assert "shutdown" == served.get("/")
    assert -signal.SIGTERM == served.process.wait(SECONDS)


@pytest.mark.parametrize("served", [(5.0, 0.0)], indirect=True)
def test_a_response_while_draining_closes_its_connection(served: Served) -> None:
    """Otherwise a caller could send its next request while the server closes the connection."""
    with httpx.Client(base_url=f"http://127.0.0.1:{served.port}", timeout=SECONDS, trust_env=False) as caller:
        assert "connection" not in caller.get("/").headers
        served.process.send_signal(signal.SIGTERM)
        served.until("/", "shutdown")
        began = time.monotonic()
        found = []
        while time.monotonic() < began + HEADERS_SECONDS:
            found.append(caller.get("/").headers.get("connection"))

    assert {"close"} == set(found)


@pytest.mark.parametrize("served", [(5.0, 0.0)], indirect=True)
def test_a_response_held_until_the_signal_closes_its_connection(served: Served) -> None:
    """Its request came long before the signal."""
    found: list[str | None] = []

    def call() -> None:
        answer = httpx.get(f"http://127.0.0.1:{served.port}/slow", timeout=SECONDS, trust_env=False)
        found.append(answer.headers.get("connection"))

    caller = threading.Thread(target=call)
    caller.start()
    served.until("/slow-calls", "1")
    time.sleep(HEADERS_SECONDS)  # no event tells that uvicorn has renewed its headers
    served.process.send_signal(signal.SIGTERM)
    caller.join(SECONDS)

    assert ["close"] == found


@pytest.mark.parametrize("served", [(30.0, 0.0)], indirect=True)
def test_a_second_signal_stops_at_once(served: Served) -> None:
    """A second signal, for example a second Ctrl-C, ends the draining."""
    served.process.send_signal(signal.SIGINT)
    served.until("/", "shutdown")

    served.process.send_signal(signal.SIGINT)
    assert 0 == served.process.wait(SECONDS)


@pytest.mark.parametrize("served", [(0.0, 1.0)], indirect=True)
def test_a_request_in_progress_is_finished(served: Served) -> None:
    """A request in progress is answered after the app has stopped accepting connections."""
    output: list[str] = []
    caller = threading.Thread(target=lambda: output.append(served.get("/slow")))
    caller.start()
    served.until("/slow-calls", "1")
    served.process.send_signal(signal.SIGTERM)
    caller.join(SECONDS)

    assert ["done"] == output
    assert -signal.SIGTERM == served.process.wait(SECONDS)
