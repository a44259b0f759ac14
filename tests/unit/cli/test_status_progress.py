"""`sidecart status` says what waits, what is kept, and which flows do not end."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from sidecart.cli.status_progress import progress
from sidecart.launcher.runfile import RunFile
from sidecart.launcher.servers.lag import BrokerLag, ConsumerLag, KeptEvents
from sidecart.launcher.servers.registry import BROKERS
from sidecart.launcher.servers.valkey import ENV, Valkey
from sidecart.launcher.topics import Subscription

FLOW = {"kind": "order", "id": "o-1", "at": "2026-01-15T09:30:00Z", "attempts": 2}
STUCK = [FLOW]


class Behind(Valkey):
    """A broker with a consumer that is behind."""

    is_up = True
    consumers: tuple[ConsumerLag, ...] = (
        ConsumerLag("OrderPaid", "order", 7, 1, 61.2, 0),
        ConsumerLag("OrderPaid", "user", 0, 2, 0.1, 0),
        ConsumerLag("OrderPaid", "billing", 0, 10, 161.0, 8),
    )

    def lag(self, address: str, expected: Sequence[Subscription]) -> BrokerLag:
        """Return two consumers and one stream."""
        assert {"order", "gateway"} <= {one.app_id for one in expected}
        if not self.is_up:
            raise OSError("refused")
        return BrokerLag(list(self.consumers), [KeptEvents("OrderPaid", 12, 3600.4)])


@pytest.fixture
def port() -> Iterator[int]:
    """A gateway, and the metrics of a trimmer, at one port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            metrics = "# HELP x\nsidecart_trimmer_passed_timestamp_seconds 1.7684694e+09\n"
            is_stuck = self.path == "/reconcile?older_than=60" and self.headers["dapr-api-token"] == "in"
            flows = json.dumps({"flows": STUCK if is_stuck else []})
            self.wfile.write((metrics if self.path == "/metrics" else flows).encode())

        def log_message(self, format: str, *args: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def system(port: int) -> RunFile:
    """Return a running system whose gateway and trimmer are at a port."""
    return RunFile(
        1,
        "redis",
        "redis",
        ready=True,
        processes={"gateway": 1, "order": 1, "order-sidecar": 1},
        ports={"gateway": port, "trimmer-metrics": port, "order": 1},
        tokens={"gateway": "in"},
        addresses={ENV: "localhost:1"},
    )


def test_the_lines_name_what_is_behind(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A consumer without waiting events has no line of its own."""
    monkeypatch.setitem(BROKERS, "redis", Behind())

    assert [
        "events that wait: 15, for 2 consumers",
        "  billing on OrderPaid: 8, 8 of them delivered and not acknowledged, the oldest for 161 s",
        "  order on OrderPaid: 7, the oldest for 61 s",
        "events in streams: 12, the oldest of 3600 s, last trimmed at 2026-01-15T09:30:00+00:00",
        "flows without an end after 60 s: 1 (./sidecart reconcile)",
        "  order  o-1  accepted 2026-01-15T09:30:00Z  repeated 2 times",
    ] == list(progress(system(port)).lines())


def test_what_a_broker_does_not_tell_is_said(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """RabbitMQ tells no client how many events it has delivered."""
    broker = Behind()
    broker.consumers = (ConsumerLag("OrderPaid", "order", 1),)
    monkeypatch.setitem(BROKERS, "redis", broker)

    assert [
        "events that wait: 1, for 1 consumer; the broker does not tell which ones were delivered and not acknowledged",
        "  order on OrderPaid: 1",
    ] == list(progress(system(port)).lines())[:2]


def test_each_stuck_flow_has_a_line_and_further_ones_are_counted(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same holds for consumers."""
    broker = Behind()
    broker.consumers = tuple(ConsumerLag(f"Topic{number}", "order", 1, 0, 1.0, 0) for number in range(11))
    monkeypatch.setitem(BROKERS, "redis", broker)
    monkeypatch.setattr(f"{__name__}.STUCK", [{**FLOW, "id": f"o-{number}"} for number in range(12)])

    lines = list(progress(system(port)).lines())

    assert "  and 1 more consumer (--json has all)" == lines[11]
    assert "flows without an end after 60 s: 12 (./sidecart reconcile)" == lines[13]
    assert [f"o-{number}" for number in range(10)] == [each.split()[1] for each in lines[14:24]]
    assert ["  and 2 more (./sidecart reconcile --dry-run lists all)"] == lines[24:]


def test_what_cannot_be_read_is_a_warning(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other lines are there."""
    broker = Behind()
    broker.is_up = False
    monkeypatch.setitem(BROKERS, "redis", broker)

    lines = list(progress(system(port)).lines())

    assert "flows without an end after 60 s: 1 (./sidecart reconcile)" == lines[0]
    assert "warning: the broker does not tell its lag: refused" == lines[-1]
