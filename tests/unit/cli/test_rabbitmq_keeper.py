"""The keeper of containers: who reads wrongly is told to end, who is merely ill is left alone for longer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from cli.fleet import fleet, readers
from cli.servers.rabbitmq_keeper import LOST_SECONDS, NOBODY_SECONDS, Keeper, end

WANTED = list(readers(fleet(1, {})))
ORDER = [one for one in WANTED if one.app_id == "order"]


def test_one_topic_that_is_read_wrongly_ends_the_sidecar_in_time() -> None:
    """Once; then it has as long again to come back."""
    keeper = Keeper()

    assert [] == keeper.to_end(ORDER[:1], WANTED, 0)
    assert [] == keeper.to_end(ORDER[:1], WANTED, LOST_SECONDS - 1)
    assert ["order"] == keeper.to_end(ORDER[:1], WANTED, LOST_SECONDS)
    assert [] == keeper.to_end(ORDER[:1], WANTED, LOST_SECONDS + 5)


def test_who_reads_again_in_between_begins_anew() -> None:
    """A broker that restarts takes a while to be read again."""
    keeper = Keeper()
    for now, lost in ((0.0, ORDER[:1]), (20.0, []), (25.0, ORDER[:1])):
        assert [] == keeper.to_end(lost, WANTED, now)

    assert [] == keeper.to_end(ORDER[:1], WANTED, LOST_SECONDS + 5)


def test_who_reads_nothing_at_all_has_longer() -> None:
    """Its app may be ill, and then its sidecar should not read; if it never gets well, a new start may help."""
    keeper = Keeper()

    assert [] == keeper.to_end(ORDER, WANTED, 0)
    assert [] == keeper.to_end(ORDER, WANTED, NOBODY_SECONDS - 1)
    assert ["order"] == keeper.to_end(ORDER, WANTED, NOBODY_SECONDS)


class Sidecar(BaseHTTPRequestHandler):
    """Ends for whoever knows the token."""

    def do_POST(self) -> None:
        """Answer."""
        allowed = (self.path, self.headers.get("dapr-api-token")) == ("/v1.0/shutdown", "token")
        self.send_response(204 if allowed else 401)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def sidecar() -> Iterator[str]:
    """One that listens."""
    server = HTTPServer(("127.0.0.1", 0), Sidecar)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_sidecar_is_told_by_its_api(sidecar: str) -> None:
    """With the token; what goes wrong is said."""
    assert end(sidecar, "token") is None
    assert "401" in str(end(sidecar, "guess"))
    assert "refused" in str(end("http://127.0.0.1:1", "token"))
