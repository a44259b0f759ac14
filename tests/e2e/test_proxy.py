"""The launcher's proxy before gateways that are not ready: what they can still answer comes through."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from cli.deadline import Deadline
from cli.ports import free_port, is_listening
from cli.proxy import command

pytestmark = pytest.mark.own_shop


class Gateway(BaseHTTPRequestHandler):
    """Answers as a gateway whose store refuses writes, or as one that is healthy."""

    is_ready = False

    def do_GET(self) -> None:
        """Say whether it is ready, and read anything else."""
        is_asked = self.path.partition("?")[0] == "/readyz"
        self._answer(503 if is_asked and not self.is_ready else 200, b"read")

    def do_POST(self) -> None:
        """Take what a proxy sends."""
        self._answer(201, b"made")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def gateway() -> Iterator[ThreadingHTTPServer]:
    """One gateway, played."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Gateway) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_while_no_gateway_is_ready_reads_come_through_and_nothing_is_ordered(
    gateway: ThreadingHTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that refuses writes makes all of them not ready at once; each of them reads all the same."""
    port = free_port()
    running = subprocess.Popen(command(tmp_path, port, {"gateway": gateway.server_port}))
    try:
        Deadline().until(lambda: is_listening(port), 10, lambda: "the proxy does not listen")
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
            Deadline().until(lambda: http.get("/user/1").status_code == 200, 10, lambda: "no read came through")
            order, ready = http.post("/order/create"), http.get("/readyz")
            assert (503, "no gateway is ready; try again") == (order.status_code, order.json()["detail"])
            assert 503 == ready.status_code
            monkeypatch.setattr(Gateway, "is_ready", True)
            Deadline().until(lambda: http.post("/order/create").status_code == 201, 10, lambda: "it is not found ready")
    finally:
        running.terminate()
        running.wait(10)
