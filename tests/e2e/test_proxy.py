"""Tests of the launcher's proxy: which gateway gets a request, also while none is ready."""

from __future__ import annotations

import subprocess
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from sidecart.launcher.deadline import Deadline
from sidecart.launcher.ports import free_port, is_listening
from sidecart.launcher.proxy import FEW, command, together

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


@contextmanager
def holding_gateways(number: int, handler: type[Holding]) -> Iterator[list[Server]]:
    """Start fake gateways that keep their requests."""
    with ExitStack() as stack:
        servers = [stack.enter_context(Server(("127.0.0.1", 0), handler)) for _ in range(number)]
        for server in servers:
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
            stack.callback(server.shutdown)
        yield servers


def test_the_first_two_gateways_share_the_requests_at_a_low_load(tmp_path: Path) -> None:
    """Further ones go to every gateway, and no request waits for a place. Without the first two,
    the others get all.
    """
    held, released, each = Counter[int](), threading.Event(), together()
    handler = type("Counting", (Holding,), {"held": held, "released": released})
    with (
        holding_gateways(3, handler) as servers,
        running_proxy(tmp_path, {f"gateway-{at}": one.server_port for at, one in enumerate(servers)}) as url,
        ThreadPoolExecutor(6 * each) as callers,
    ):
        ports = [one.server_port for one in servers]

        def call(requests: int) -> list[int]:
            calls.extend(
                callers.submit(httpx.get, f"{url}/user/1", timeout=SECONDS, trust_env=False) for _ in range(requests)
            )
            Deadline().until(lambda: held.total() == len(calls), SECONDS, lambda: f"{held} of {len(calls)}")
            return [held[port] for port in ports]

        calls: list[Future[httpx.Response]] = []
        assert [each, each, 0] == call(2 * each)
        assert call(3 * each)[2] >= each
        released.set()
        assert {200} == {call.result().status_code for call in calls}
        for server in servers[:FEW]:
            server.shutdown()
            server.server_close()
        # the proxy answers 503 until its checks fail, because both ended at once
        write = partial(httpx.post, f"{url}/order/create", timeout=SECONDS, trust_env=False)
        Deadline().until(lambda: write().status_code == 201, SECONDS, lambda: "the third gateway gets nothing")
        assert {201} == {answer.result().status_code for answer in [callers.submit(write) for _ in range(each)]}
