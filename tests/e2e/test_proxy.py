"""Tests of the launcher's proxy with gateways that are not ready: reads still pass."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from sidecart.launcher.deadline import Deadline
from sidecart.launcher.ports import free_port, is_listening
from sidecart.launcher.proxy import command

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


def test_without_a_ready_gateway_reads_pass_and_writes_are_rejected(
    gateway: ThreadingHTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a store that refuses writes, no gateway is ready, and all of them still read. /readyz of
    the proxy agrees with the writes, also when a gateway became ready since the last check.
    """
    port = free_port()
    running = subprocess.Popen(command(tmp_path, port, {"gateway": gateway.server_port}))
    try:
        Deadline().until(lambda: is_listening(port), 10, lambda: "the proxy does not listen")
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
            Deadline().until(lambda: http.get("/user/1").status_code == 200, 10, lambda: "no read passed")
            order, ready = http.post("/order/create"), http.get("/readyz")
            assert (503, "no gateway is ready; try again") == (order.status_code, order.json()["detail"])
            assert 503 == ready.status_code
            monkeypatch.setattr(Gateway, "is_ready", True)
            Deadline().until(
                lambda: http.get("/readyz").status_code == 200, 10, lambda: "the proxy does not see it as ready"
            )
            assert 201 == http.post("/order/create").status_code
    finally:
        running.terminate()
        running.wait(10)
