"""GET requests to processes on this machine."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from sidecart.launcher.local_http import get
from sidecart.launcher.ports import free_port


class Handler(BaseHTTPRequestHandler):
    """Answers with the path as the status, and the token as the body."""

    def do_GET(self) -> None:
        """Answer one request."""
        body = str(self.headers.get("dapr-api-token")).encode() * 100
        self.send_response(int(self.path.strip("/")))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    """The port of a server."""
    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,)).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("status", [200, 404, 503])
def test_status_and_the_beginning_of_the_body_are_returned(port: int, status: int) -> None:
    """An error's body has its reason, and a long body is cut."""
    assert (status, "token"[:3]) == get(port, f"/{status}", "token", bytes_max=3)


def test_no_answer_is_status_0() -> None:
    """A process that does not listen is no error of the caller."""
    assert (0, "") == get(free_port(), "/readyz")
