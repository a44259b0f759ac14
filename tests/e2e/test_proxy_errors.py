"""Tests of the proxy's own responses: HAProxy with the launcher's configuration and failing
gateways.
"""

from __future__ import annotations

import re
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from sidecart.launcher import proxy
from sidecart.launcher.ports import free_port
from tests.contracts.validate import http_problems
from tests.e2e.raw import LAST, exchange, get
from tests.e2e.shopper import SECONDS

pytestmark = pytest.mark.own_shop
READY = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
TIMES = 50


class Gateway:
    """A gateway that reports ready and then fails the requests that reach it."""

    def __init__(self, answer: bytes | None) -> None:
        """Start listening. `answer` is the whole response to a request; None sends nothing and
        keeps the connection.
        """
        self.answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port = int(self._listener.getsockname()[1])
        self._kept: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """Stop listening and close all connections."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in self._kept:
            each.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            if connection.recv(65536).startswith(b"GET /readyz"):
                connection.sendall(READY)
            elif self.answer is None:
                self._kept.append(connection)
                continue
            else:
                connection.sendall(self.answer)
            connection.close()


@contextmanager
def proxied(folder: Path, gateways: list[Gateway]) -> Iterator[int]:
    """Start the launcher's proxy with these gateways and a time limit of one second; yield its
    port.
    """
    port = free_port()
    words = proxy.command(folder, port, {f"gateway-{number}": each.port for number, each in enumerate(gateways)})
    configuration = folder / "haproxy.cfg"
    text = configuration.read_text("utf-8")
    changed, count = re.subn(r"(?m)^    timeout server .*$", "    timeout server 1s", text)
    assert 1 == count
    configuration.write_text(changed, "utf-8")
    with subprocess.Popen(words) as process:
        try:
            deadline = time.monotonic() + SECONDS
            while True:
                with socket.socket() as trial:
                    if trial.connect_ex(("127.0.0.1", port)) == 0:
                        break
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.02)
            yield port
            assert process.poll() is None, "the proxy ended"
        finally:
            process.terminate()
            for each in gateways:
                each.close()


def must_be_a_problem(answer: httpx.Response, status: int, kind: str) -> None:
    """Check a response of the proxy against the form of the gateway's problems."""
    assert (status, "application/problem+json") == (answer.status_code, answer.headers["content-type"])
    assert f"urn:sidecart:problem:{kind}" == answer.json()["type"]
    assert [] == http_problems("problem", answer.json())
    assert "no-store" == answer.headers["cache-control"]


def ask(port: int) -> httpx.Response:
    """Send one request; return the response."""
    return httpx.get(f"http://127.0.0.1:{port}/order/x", timeout=SECONDS, trust_env=False)


def test_a_silent_gateway_is_504(tmp_path: Path) -> None:
    """The outcome of the request is unknown, because the gateway never answered."""
    with proxied(tmp_path, [Gateway(None)]) as port:
        must_be_a_problem(ask(port), 504, "outcome-unknown")


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200", b"nonsense\r\n\r\n"])
def test_a_truncated_response_is_502(tmp_path: Path, answer: bytes) -> None:
    """The outcome of the request is unknown, because the response was incomplete."""
    with proxied(tmp_path, [Gateway(answer)]) as port:
        must_be_a_problem(ask(port), 502, "outcome-unknown")


def test_without_a_gateway_every_request_is_503(tmp_path: Path) -> None:
    """Each 503 has Retry-After and its own trace id, and the proxy keeps running."""
    with proxied(tmp_path, []) as port:
        answers = [ask(port) for _ in range(TIMES)]
        for answer in answers:
            must_be_a_problem(answer, 503, "unavailable")
            assert "1" == answer.headers["retry-after"]

    assert TIMES == len({answer.json()["trace_id"] for answer in answers})


def test_http_2_with_prior_knowledge_is_rejected(tmp_path: Path) -> None:
    """The proxy rejects HTTP/2 like a gateway does; only HTTP/1.1 is used behind it."""
    with proxied(tmp_path, []) as port:
        answer, *_ = exchange(port, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")

    assert (400, "application/problem+json") == (answer.status, answer.headers["content-type"])


@pytest.mark.parametrize("sent", [b"garbage\r\n\r\n", get(method=b"G(T")])
def test_an_unreadable_request_never_reaches_a_gateway(tmp_path: Path, sent: bytes) -> None:
    """The proxy returns one 400 and closes the connection.

    The text is HAProxy's: up to 3.2 no configuration changes the response of its parser
    (haproxy/haproxy #3032).
    """
    # a request that reached this gateway would be 502
    with proxied(tmp_path, [Gateway(b"")]) as port:
        answers = exchange(port, sent + LAST)

    assert [(400, "close")] == [(each.status, each.headers["connection"]) for each in answers]
