"""The keeper shuts down a sidecar that reads incorrectly, later if it waits for its app."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from sidecart.launcher.servers.rabbitmq_keeper import LOST_SECONDS, WAITING_SECONDS, Keeper, end, is_ready, tokens_of
from sidecart.launcher.topics import Subscription
from sidecart.launcher.topology import readers, replica_names

ORDER = [one for one in readers(replica_names(1, {})) if one.app_id == "order"]


def ready(app_id: str) -> bool:
    """Report every sidecar as ready."""
    return bool(app_id)


def waiting(app_id: str) -> bool:
    """Report that every sidecar waits for its app."""
    return not app_id


@pytest.mark.parametrize("lost", [ORDER[:1], ORDER], ids=["one topic", "all topics"])
def test_a_sidecar_that_reads_incorrectly_ends_in_time(lost: list[Subscription]) -> None:
    """The keeper ends the sidecar once, and then allows it the same time again."""
    keeper = Keeper()

    assert [] == keeper.to_end(lost, ready, 0)
    assert [] == keeper.to_end(lost, ready, LOST_SECONDS - 1)
    assert ["order"] == keeper.to_end(lost, ready, LOST_SECONDS)
    assert [] == keeper.to_end(lost, ready, LOST_SECONDS + 5)


def test_a_correct_reading_restarts_the_time() -> None:
    """A correct reading in between restarts the time, because a restarted broker needs a while."""
    keeper = Keeper()
    for now, lost in ((0.0, ORDER[:1]), (20.0, []), (25.0, ORDER[:1])):
        assert [] == keeper.to_end(lost, ready, now)

    assert [] == keeper.to_end(ORDER[:1], ready, LOST_SECONDS + 5)


def test_a_sidecar_that_waits_for_its_app_has_longer() -> None:
    """It should not read yet, and has its full time once the app listens."""
    keeper = Keeper()

    assert [] == keeper.to_end(ORDER, waiting, 0)
    assert [] == keeper.to_end(ORDER, waiting, 100)
    assert [] == keeper.to_end(ORDER, ready, 100 + LOST_SECONDS - 1)
    assert ["order"] == keeper.to_end(ORDER, ready, 100 + LOST_SECONDS)


def test_a_sidecar_that_never_finds_its_app_ends() -> None:
    """A new one may find it."""
    keeper = Keeper()

    assert [] == keeper.to_end(ORDER, waiting, 0)
    assert [] == keeper.to_end(ORDER, waiting, WAITING_SECONDS - 1)
    assert ["order"] == keeper.to_end(ORDER, waiting, WAITING_SECONDS)


def test_each_gateway_has_its_own_sidecar() -> None:
    """A gateway that reads incorrectly does not end the sidecar of another one."""
    keeper = Keeper()
    lost = [one for one in readers(replica_names(3, {})) if one.consumer_id == "gateway-1"]

    assert lost
    assert [] == keeper.to_end(lost, ready, 0)
    assert ["gateway-1"] == keeper.to_end(lost, ready, LOST_SECONDS)


def test_the_first_gateway_has_the_name_of_its_app() -> None:
    """Its container is `gateway`, although its consumer group is `gateway-0`."""
    keeper = Keeper()
    lost = [one for one in readers(replica_names(1, {})) if one.app_id == "gateway"]

    assert [] == keeper.to_end(lost, ready, 0)
    assert ["gateway"] == keeper.to_end(lost, ready, LOST_SECONDS)


class Sidecar(BaseHTTPRequestHandler):
    """Ends for a request with the token; it is ready or waits for its app."""

    status = 204

    def do_GET(self) -> None:
        """Answer the health check, which needs no token."""
        self.send_response(self.status if self.path == "/v1.0/healthz" else 404)
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


@pytest.mark.parametrize(("status", "expected"), [(204, True), (500, False)])
def test_a_sidecar_reports_whether_it_has_its_app(
    sidecar: str, monkeypatch: pytest.MonkeyPatch, status: int, expected: bool
) -> None:
    """A sidecar that does not answer is not ready either."""
    monkeypatch.setattr(Sidecar, "status", status)

    assert expected == is_ready(sidecar)
    assert not is_ready("http://127.0.0.1:1")


def test_the_tokens_are_those_of_the_setting() -> None:
    """make-secrets writes it."""
    assert {"user": "a", "order": "b="} == tokens_of("user=a,order=b=")
