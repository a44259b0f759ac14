"""The keeper of containers: who reads wrongly is told to end, who is merely unhealthy is left alone for longer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from cli.servers.rabbitmq_keeper import LOST_SECONDS, UNHEALTHY_SECONDS, Keeper, end, is_healthy
from cli.topics import Subscription
from cli.topology import readers, replica_names

ORDER = [one for one in readers(replica_names(1, {})) if one.app_id == "order"]


def healthy(app_id: str) -> bool:
    """Say that every app is healthy."""
    return bool(app_id)


def unhealthy(app_id: str) -> bool:
    """Say that none is."""
    return not app_id


@pytest.mark.parametrize("lost", [ORDER[:1], ORDER], ids=["one topic", "all topics"])
def test_what_is_read_wrongly_ends_the_sidecar_in_time(lost: list[Subscription]) -> None:
    """Once; then it has as long again to come back."""
    keeper = Keeper()

    assert [] == keeper.to_end(lost, healthy, 0)
    assert [] == keeper.to_end(lost, healthy, LOST_SECONDS - 1)
    assert ["order"] == keeper.to_end(lost, healthy, LOST_SECONDS)
    assert [] == keeper.to_end(lost, healthy, LOST_SECONDS + 5)


def test_who_reads_again_in_between_begins_anew() -> None:
    """A broker that restarts takes a while to be read again."""
    keeper = Keeper()
    for now, lost in ((0.0, ORDER[:1]), (20.0, []), (25.0, ORDER[:1])):
        assert [] == keeper.to_end(lost, healthy, now)

    assert [] == keeper.to_end(ORDER[:1], healthy, LOST_SECONDS + 5)


def test_whose_app_is_unhealthy_has_longer() -> None:
    """Its sidecar should not read meanwhile, and has its time once the app is healthy."""
    keeper = Keeper()

    assert [] == keeper.to_end(ORDER, unhealthy, 0)
    assert [] == keeper.to_end(ORDER, unhealthy, 100)
    assert [] == keeper.to_end(ORDER, healthy, 100 + LOST_SECONDS - 1)
    assert ["order"] == keeper.to_end(ORDER, healthy, 100 + LOST_SECONDS)


def test_an_app_that_stays_ill_gets_a_new_sidecar() -> None:
    """It may be unhealthy for its sidecar's sake."""
    keeper = Keeper()

    assert [] == keeper.to_end(ORDER, unhealthy, 0)
    assert [] == keeper.to_end(ORDER, unhealthy, UNHEALTHY_SECONDS - 1)
    assert ["order"] == keeper.to_end(ORDER, unhealthy, UNHEALTHY_SECONDS)


class Sidecar(BaseHTTPRequestHandler):
    """Ends for whoever knows the token; its app is User, and is well."""

    def do_GET(self) -> None:
        """Answer for the app."""
        allowed = self.headers.get("dapr-api-token") == "token"
        self.send_response((200 if self.path == "/v1.0/invoke/user/method/healthz" else 500) if allowed else 401)
        self.end_headers()

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


def test_a_sidecar_is_asked_for_its_app(sidecar: str) -> None:
    """Whatever is no plain yes is a no."""
    assert is_healthy(sidecar, "user", "token")
    assert not is_healthy(sidecar, "order", "token")
    assert not is_healthy(sidecar, "user", "guess")
    assert not is_healthy("http://127.0.0.1:1", "user", "token")
