"""The lag on the page: the broker's answer, the stuck flows of all gateways, and what failed."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sidecart.launcher.ports import free_port
from sidecart.launcher.servers.brokers import BROKERS
from sidecart.launcher.servers.lag import BrokerLag, ConsumerLag, KeptEvents
from sidecart.launcher.servers.valkey import Valkey
from sidecart.launcher.topics import Subscription
from sidecart.launcher.unfinished import Unfinished
from sidecart.monitor.lag import Lag, LagPoll
from sidecart.monitor.settings import Settings

FLOW = {"kind": "order", "id": "o-1", "at": "2026-01-15T09:30:00Z", "attempts": 2}
LATER = FLOW | {"id": "o-2", "at": "2026-01-15T09:31:00Z"}


class Behind(Valkey):
    """A broker with a consumer that is behind."""

    is_up = True
    calls = 0

    def lag(self, address: str, expected: Sequence[Subscription]) -> BrokerLag:
        """Return one consumer."""
        self.calls += 1
        assert {"gateway", "order"} == {one.app_id for one in expected}
        if not self.is_up:
            raise OSError("refused")
        kept = [KeptEvents(topic, 1, 1.0) for topic in ("Probe-gateway-0", "OrderPaid", "UserCreated")]
        return BrokerLag([ConsumerLag("OrderPaid", "order", 7, 1, 61.2)], kept)


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Behind:
    """Make this the broker."""
    made = Behind()
    monkeypatch.setitem(BROKERS, "redis", made)
    return made


@pytest.fixture
def port() -> Iterator[int]:
    """A gateway that lists its stuck flows, newest first."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_stuck = self.path == "/reconcile?older_than=60" and self.headers["dapr-api-token"] == "in"
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"flows": [LATER, FLOW] if is_stuck else []}).encode())

        def log_message(self, format: str, *args: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def read(gateways: dict[str, int], times: int = 1) -> Lag:
    """Return the lag of a system with these gateways."""
    settings = Settings(
        port=1,
        dapr_grpc_port=1,
        app_api_token="",
        dapr_api_token="",
        gateway_url="",
        mail_url="",
        broker="redis",
        broker_address="",
        store="redis",
        auth=None,
        issuer_keys=Path(),
        key="",
        ports={**gateways, "order": 1, "order-sidecar": 1},
        tokens=dict.fromkeys(gateways, "in"),
        hosts={},
        gateways=len(gateways),
    )

    async def run() -> Lag:
        poll = LagPoll(settings)
        return (await asyncio.gather(*(poll.read() for _ in range(times))))[0]

    return asyncio.run(run())


def test_the_oldest_stuck_flow_comes_first_and_counts_once(broker: Behind, port: int) -> None:
    """Several gateways may know one flow; viewers at the same time share one answer."""
    found = read({"gateway": port, "gateway-1": port}, times=3)

    assert [Unfinished(**each) for each in (FLOW, LATER)] == found.stuck  # type: ignore[arg-type]  # of mixed types
    assert (2, [7], []) == (found.stuck_total, [each.waiting for each in found.consumers], found.problems)
    assert 1 == broker.calls


@pytest.mark.usefixtures("broker")
def test_documented_topics_come_before_the_gateways_own_streams(port: int) -> None:
    """They have the sequence of the topic list."""
    assert ["UserCreated", "OrderPaid", "Probe-gateway-0"] == [each.topic for each in read({"gateway": port}).kept]


def test_what_cannot_be_read_is_named(broker: Behind) -> None:
    """The other parts are shown."""
    broker.is_up = False

    found = read({"gateway": free_port()})

    assert ([], [], 0) == (found.consumers, found.stuck, found.stuck_total)
    assert ["the broker does not tell its lag: refused", "gateway does not list its flows: ConnectError"] == sorted(
        found.problems, reverse=True
    )
