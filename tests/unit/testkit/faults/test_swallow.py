"""Tests of publishes swallowed between an app and its sidecar: whole requests, in the requested
share.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from sidecart.chassis.connections import Connections
from sidecart.testkit.faults.network import Network
from sidecart.testkit.faults.swallow import ANSWER, HttpSwallower, Swallowed

EVENT = b'{"id":"e-1"}'
TOKEN = b"dapr-api-token: secret\r\n"


def post(path: bytes, body: bytes) -> bytes:
    """Return a request in the form that the apps send."""
    return b"POST %s HTTP/1.1\r\nhost: 127.0.0.1:3500\r\n%scontent-length: %d\r\n\r\n%s" % (
        path,
        TOKEN,
        len(body),
        body,
    )


PUBLISH = post(b"/v1.0/publish/pubsub/UserCreated", EVENT)
SAVE = post(b"/v1.0/state/statestore", b"[]")
LOAD = b"GET /v1.0/state/statestore/key HTTP/1.1\r\nhost: 127.0.0.1:3500\r\n\r\n"


@pytest.fixture
def swallow_all(tmp_path: Path) -> Iterator[Swallowed]:
    """Swallow every publish."""
    with closing(Swallowed(1, 1.0, tmp_path / "swallowed.jsonl")) as swallowed:
        yield swallowed


def test_a_swallowed_publish_is_answered_and_does_not_reach_the_sidecar(swallow_all: Swallowed, tmp_path: Path) -> None:
    """The record of the swallowed publish has its topic and event."""
    passed, answers = HttpSwallower(swallow_all).from_app(PUBLISH)

    assert (b"", ANSWER) == (passed, answers)
    assert {"UserCreated": 1} == swallow_all.by_topic
    (line,) = (tmp_path / "swallowed.jsonl").read_text().splitlines()
    assert ("UserCreated", EVENT.decode()) == (json.loads(line)["topic"], json.loads(line)["event"])


@pytest.mark.parametrize("request_", [SAVE, LOAD])
def test_everything_else_passes_unchanged(swallow_all: Swallowed, request_: bytes) -> None:
    """Other requests pass with their token and body."""
    assert (request_, b"") == HttpSwallower(swallow_all).from_app(request_)


def test_requests_may_be_split_anywhere(swallow_all: Swallowed) -> None:
    """Splitting the stream into bytes changes neither the passed requests nor the answers."""
    swallower = HttpSwallower(swallow_all)
    passed = answers = b""
    for byte in LOAD + PUBLISH + SAVE + PUBLISH:
        more_passed, more_answers = swallower.from_app(bytes([byte]))
        passed, answers = passed + more_passed, answers + more_answers

    assert (LOAD + SAVE, 2 * ANSWER) == (passed, answers)


def test_the_share_holds_and_the_seed_decides(tmp_path: Path) -> None:
    """The same seed swallows the same publishes; after stop() every publish passes."""
    with (
        closing(Swallowed(1, 0.01, tmp_path / "1")) as one,
        closing(Swallowed(1, 0.01, tmp_path / "2")) as same,
        closing(Swallowed(2, 0.01, tmp_path / "3")) as other,
    ):
        taken = [[each.draw() for _ in range(10_000)] for each in (one, same, other)]
        one.stop()

        assert 60 < sum(taken[0]) < 140
        assert taken[0] == taken[1] != taken[2]
        assert not any(one.draw() for _ in range(1_000))


class Sidecar(BaseHTTPRequestHandler):
    """Records the paths of the requests that reach it."""

    protocol_version = "HTTP/1.1"
    reached: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        """Record the request and answer 200."""
        self.rfile.read(int(self.headers["content-length"]))
        self.reached.append(self.path)
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Write no log."""


def test_the_link_answers_204_and_the_app_keeps_its_connection(swallow_all: Swallowed) -> None:
    """Over one connection, swallowed publishes never reach the sidecar, and the requests between
    them do.
    """
    Sidecar.reached.clear()

    async def ask(port: int) -> list[int]:
        connections = Connections("127.0.0.1", port, {"dapr-api-token": "secret"}, 1)
        answers = [
            await connections.request("POST", path, b"{}", "application/json", 5.0)
            for path in ("/v1.0/publish/pubsub/OrderPaid", "/v1.0/state/statestore", "/v1.0/publish/pubsub/OrderPaid")
        ]
        connections.close()
        return [answer.status for answer in answers]

    with ThreadingHTTPServer(("127.0.0.1", 0), Sidecar) as server, closing(Network(1)) as network:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        link = network.link("order-sidecar", server.server_address[1])
        link.swallower_of = lambda: HttpSwallower(swallow_all)
        statuses = asyncio.run(ask(link.port))
        server.shutdown()

    assert [204, 200, 204] == statuses
    assert ["/v1.0/state/statestore"] == Sidecar.reached
    assert {"OrderPaid": 2} == swallow_all.by_topic
