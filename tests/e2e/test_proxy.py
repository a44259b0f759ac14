"""Tests of the launcher's proxy: which gateway gets a request, also while none is ready."""

from __future__ import annotations

import subprocess
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from sidecart.launcher.deadline import Deadline
from sidecart.launcher.ports import free_port, is_listening
from sidecart.launcher.proxy import command, together

SECONDS = 30

pytestmark = pytest.mark.own_shop


class Gateway(BaseHTTPRequestHandler):
    """Answers like a healthy gateway, or to the proxy's checks like one that cannot write."""

    is_ready = False

    def do_GET(self) -> None:
        """Answer a check of the proxy by the state, and every other path with 200."""
        is_check = self.path == "/readyz?exclude=broker"
        self._answer(503 if is_check and not self.is_ready else 200, b"read")

    def do_POST(self) -> None:
        """Answer 201 to every write."""
        self._answer(201, b"made")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Write no log."""


@pytest.fixture
def gateway() -> Iterator[ThreadingHTTPServer]:
    """Start a fake gateway."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Gateway) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@contextmanager
def running_proxy(folder: Path, gateways: Mapping[str, int]) -> Iterator[str]:
    """Start the proxy for gateways at these ports, and yield its address once it listens."""
    port = free_port()
    running = subprocess.Popen(command(folder, port, gateways))
    try:
        Deadline().until(lambda: is_listening(port), 10, lambda: "the proxy does not listen")
        yield f"http://127.0.0.1:{port}"
    finally:
        running.terminate()
        running.wait(10)


def test_without_a_ready_gateway_reads_pass_and_writes_are_rejected(
    gateway: ThreadingHTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a store that refuses writes, no gateway is ready, and all of them still read. /readyz of
    the proxy agrees with the writes, also when a gateway became ready since the last check.
    """
    with (
        running_proxy(tmp_path, {"gateway": gateway.server_port}) as url,
        httpx.Client(base_url=url, trust_env=False) as http,
    ):
        Deadline().until(lambda: http.get("/user/1").status_code == 200, 10, lambda: "no read passed")
        order, ready = http.post("/order/create"), http.get("/readyz")
        assert (503, "no gateway is ready; try again") == (order.status_code, order.json()["detail"])
        assert 503 == ready.status_code
        monkeypatch.setattr(Gateway, "is_ready", True)
        Deadline().until(
            lambda: http.get("/readyz").status_code == 200, 10, lambda: "the proxy does not see it as ready"
        )
        assert 201 == http.post("/order/create").status_code


class Server(ThreadingHTTPServer):
    """A server that accepts many connections at once."""

    request_queue_size = 4 * together()


class Holding(Gateway):
    """Keeps each request but the checks until `released` is set, and counts it."""

    is_ready = True
    held: Counter[int]
    released: threading.Event

    def do_GET(self) -> None:
        """Answer a check at once, and another request once `released` is set."""
        if not self.path.startswith("/readyz"):
            self.held[self.connection.getsockname()[1]] += 1
            self.released.wait(SECONDS)
        self._answer(200, b"read")


def test_one_gateway_is_filled_after_the_other(tmp_path: Path) -> None:
    """A gateway gets `together()` requests before the next gets any. No request waits for a place."""
    held, released, first = Counter[int](), threading.Event(), together()
    handler = type("Counting", (Holding,), {"held": held, "released": released})
    with Server(("127.0.0.1", 0), handler) as one, Server(("127.0.0.1", 0), handler) as two:
        for server in (one, two):
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        ports = {"gateway-0": one.server_port, "gateway-1": two.server_port}
        with running_proxy(tmp_path, ports) as url, ThreadPoolExecutor(4 * first) as callers:

            def call(requests: int) -> Counter[int]:
                calls.extend(
                    callers.submit(httpx.get, f"{url}/user/1", timeout=SECONDS, trust_env=False)
                    for _ in range(requests)
                )
                Deadline().until(lambda: held.total() == len(calls), SECONDS, lambda: f"{held} of {len(calls)}")
                return Counter(held)

            calls: list[Future[httpx.Response]] = []
            assert Counter({one.server_port: first}) == call(first)
            assert 1 == call(1)[two.server_port]
            call(3 * first - 1)  # more than all places
            released.set()
            assert {200} == {each.result().status_code for each in calls}
        for server in (one, two):
            server.shutdown()
