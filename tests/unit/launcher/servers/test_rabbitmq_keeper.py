"""The keeper shuts down a sidecar that reads incorrectly, and waits longer for an unhealthy app."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from sidecart.launcher.servers.rabbitmq_keeper import LOST_SECONDS, UNHEALTHY_SECONDS, Keeper, end, is_healthy
from sidecart.launcher.topics import Subscription
from sidecart.launcher.topology import readers, replica_names

ORDER = [one for one in readers(replica_names(1, {})) if one.app_id == "order"]


def healthy(app_id: str) -> bool:
    """Report every app as healthy."""
    return bool(app_id)


def unhealthy(app_id: str) -> bool:
    """Report every app as unhealthy."""
    return not app_id


@pytest.mark.parametrize("lost", [ORDER[:1], ORDER], ids=["one topic", "all topics"])
def test_a_sidecar_that_reads_incorrectly_ends_in_time(lost: list[Subscription]) -> None:
    """The keeper ends the sidecar once, and then allows it the same time again."""
    keeper = Keeper()

    assert [] == keeper.to_end(lost, healthy, 0)
    assert [] == keeper.to_end(lost, healthy, LOST_SECONDS - 1)
    assert ["order"] == keeper.to_end(lost, healthy, LOST_SECONDS)
    assert [] == keeper.to_end(lost, healthy, LOST_SECONDS + 5)


def test_a_correct_reading_restarts_the_time() -> None:
    """A correct reading in between restarts the time, because a restarted broker needs a while."""
    keeper = Keeper()
    for now, lost in ((0.0, ORDER[:1]), (20.0, []), (25.0, ORDER[:1])):
        assert [] == keeper.to_end(lost, healthy, now)

    assert [] == keeper.to_end(ORDER[:1], healthy, LOST_SECONDS + 5)


def test_the_sidecar_of_an_unhealthy_app_has_longer() -> None:
    """An unhealthy app's sidecar should not read, and has its full time once the app is healthy."""
    keeper = Keeper()

    assert [] == keeper.to_end(ORDER, unhealthy, 0)
    assert [] == keeper.to_end(ORDER, unhealthy, 100)
    assert [] == keeper.to_end(ORDER, healthy, 100 + LOST_SECONDS - 1)
    assert ["order"] == keeper.to_end(ORDER, healthy, 100 + LOST_SECONDS)


def test_an_app_that_stays_unhealthy_gets_a_new_sidecar() -> None:
    """The sidecar may be the reason that the app is unhealthy."""
    keeper = Keeper()

    assert [] == keeper.to_end(ORDER, unhealthy, 0)
    assert [] == keeper.to_end(ORDER, unhealthy, UNHEALTHY_SECONDS - 1)
    assert ["order"] == keeper.to_end(ORDER, unhealthy, UNHEALTHY_SECONDS)


class Sidecar(BaseHTTPRequestHandler):
    """Ends for a request with the token; its app is User, which is healthy."""

    def do_GET(self) -> None:
        """Answer for the app."""
        allowed = self.headers.get("dapr-api-token") == "token"
        self.send_response((200 if self.path == "/v1.0/invoke/user/method/healthz" else 500) if allowed else 401)
        self.end_headers()

    def do_POST(self) -> None:
        """Answer a shutdown request."""
        allowed = (self.path, self.headers.get("dapr-api-token")) == ("/v1.0/shutdown", "token")
        self.send_response(204 if allowed else 401)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@pytest.fixture
def sidecar() -> Iterator[str]:
    """Start a fake sidecar."""
    server = HTTPServer(("127.0.0.1", 0), Sidecar)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_sidecar_is_shut_down_by_its_api(sidecar: str) -> None:
    """The request carries the token, and a failure is returned."""
    assert end(sidecar, "token") is None
    assert "401" in str(end(sidecar, "guess"))
    assert "refused" in str(end("http://127.0.0.1:1", "token"))


def test_a_sidecar_reports_the_health_of_its_app(sidecar: str) -> None:
    """Every answer except 200 counts as unhealthy."""
    assert is_healthy(sidecar, "user", "token")
    assert not is_healthy(sidecar, "order", "token")
    assert not is_healthy(sidecar, "user", "guess")
    assert not is_healthy("http://127.0.0.1:1", "user", "token")
