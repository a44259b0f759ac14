"""The keeper of a cluster: the pods it compares and evicts, and its calls to the API server."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from sidecart.launcher.servers.rabbitmq import RabbitMq
from sidecart.launcher.servers.rabbitmq_keeper import LOST_SECONDS, WAITING_SECONDS
from sidecart.launcher.servers.rabbitmq_pod_keeper import ApiServer, Pod, PodKeeper, look, pods_of, replicas
from sidecart.launcher.topics import Subscription
from sidecart.launcher.topology import readers

LABEL = "app.kubernetes.io/name"
PODS = [
    Pod("gateway-0", "gateway", "2026-01-01T00:00:00Z", is_ready=True),
    Pod("gateway-1", "gateway", "2026-01-01T00:00:00Z", is_ready=True),
    Pod("order-b", "order", "2026-01-01T00:00:01Z", is_ready=True),
    Pod("order-a", "order", "2026-01-01T00:00:02Z", is_ready=True),
    Pod("billing-a", "billing", "2026-01-01T00:00:00Z", is_ready=True),
]


class WrongReaders(RabbitMq):
    """A broker on which some replicas read incorrectly."""

    def __init__(self, *names: str) -> None:
        super().__init__()
        self._wrong = set(readers(names))

    def unread(self, address: str, expected: Mapping[Subscription, int]) -> list[Subscription]:
        """Return the wrong ones among the expected ones."""
        return [one for one in expected if one in self._wrong]


def test_the_pods_are_the_replicas_of_the_launcher() -> None:
    """The first gateway has no number there, and replicas of a service share their queues."""
    assert ["billing", "gateway", "gateway-1", "order", "order-1"] == sorted(replicas(PODS))
    assert ["gateway-0"] == [each.name for each in pods_of("gateway", PODS)]
    assert ["order-b", "order-a"] == [each.name for each in pods_of("order", PODS)]


@pytest.mark.parametrize(
    ("wrong", "evicted"), [("order", ["order-b"]), ("gateway-1", ["gateway-1"]), ("gateway", ["gateway-0"])]
)
def test_the_oldest_pod_of_an_app_that_reads_incorrectly_is_evicted(wrong: str, evicted: list[str]) -> None:
    """Not before the time has passed; the next one would be its successor's elder."""
    keeper, broker = PodKeeper(), WrongReaders(wrong)

    assert [] == look(keeper, broker, "", PODS, 0)
    assert [] == look(keeper, broker, "", PODS, LOST_SECONDS - 1)
    assert evicted == look(keeper, broker, "", PODS, LOST_SECONDS)


def test_a_pod_that_starts_or_ends_delays_the_comparison() -> None:
    """Its sidecar does not read yet, or no longer."""
    keeper, broker = PodKeeper(), WrongReaders("order")
    starting = [*PODS, Pod("order-c", "order", "2026-01-01T00:00:03Z", is_ready=False)]
    look(keeper, broker, "", PODS, 0)

    assert [] == look(keeper, broker, "", starting, LOST_SECONDS)
    assert [] == look(keeper, broker, "", starting, LOST_SECONDS + WAITING_SECONDS)
    began = 2 * LOST_SECONDS + WAITING_SECONDS
    assert [] == look(keeper, broker, "", PODS, began)
    assert ["order-b"] == look(keeper, broker, "", PODS, began + LOST_SECONDS)


def test_without_a_comparison_the_time_starts_again() -> None:
    """A broker that comes back has no consumers for some seconds."""
    keeper, broker = PodKeeper(), WrongReaders("order")
    look(keeper, broker, "", PODS, 0)

    keeper.forget()

    assert [] == look(keeper, broker, "", PODS, LOST_SECONDS)


def test_evictions_that_do_not_help_become_rarer() -> None:
    """Until the app has read correctly once."""
    keeper, broker, now = PodKeeper(), WrongReaders("order"), 0.0
    pauses: list[float] = []
    last = 0.0
    while len(pauses) < 4:
        if look(keeper, broker, "", PODS, now):
            pauses.append(now - last)
            last = now
        now += LOST_SECONDS / 2
    look(keeper, WrongReaders(), "", PODS, now)
    began = now + 1
    look(keeper, broker, "", PODS, began)

    assert pauses == sorted(set(pauses))
    assert ["order-b"] == look(keeper, broker, "", PODS, began + LOST_SECONDS)


class Handler(BaseHTTPRequestHandler):
    """Answers as an API server, and notes what it was asked."""

    server: Server

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""

    def do_GET(self) -> None:
        """List the pods."""
        self._answer(200, {"items": self.server.items})

    def do_POST(self) -> None:
        """Evict a pod, or refuse it."""
        self.rfile.read(int(self.headers["content-length"]))
        self._answer(self.server.status, {"message": "Cannot evict pod as it would violate the budget."})

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        self.server.asked.append((self.command, self.path, self.headers["authorization"]))
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())


class Server(ThreadingHTTPServer):
    """An API server with some pods."""

    def __init__(self, items: list[dict[str, Any]]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.items, self.status = items, 201
        self.asked: list[tuple[str, str, str]] = []


def item(name: str, app: str, ready: str, **head: str) -> dict[str, Any]:
    """Return a pod as the API server does."""
    return {
        "metadata": {"name": name, "labels": {LABEL: app}, "creationTimestamp": "2026-01-01T00:00:00Z", **head},
        "status": {"conditions": [{"type": "Ready", "status": ready}]},
    }


@pytest.fixture
def server() -> Iterator[Server]:
    """Return an API server with pods in each state."""
    items = [
        item("order-a", "order", "True"),
        item("order-b", "order", "False", creationTimestamp="2025-01-01T00:00:00Z"),
        item("user-a", "user", "True", deletionTimestamp="2026-01-01T00:00:00Z"),
        item("redis-0", "redis", "True"),
        item("billing-a", "billing", "False") | {"status": {"phase": "Failed"}},
    ]
    with Server(items) as running:
        threading.Thread(target=running.serve_forever, args=(0.01,)).start()
        yield running
        running.shutdown()


@pytest.fixture
def api(server: Server, tmp_path: Path) -> ApiServer:
    """Return the client, with the account of a pod."""
    (tmp_path / "namespace").write_text("shop\n", encoding="ascii")
    (tmp_path / "token").write_text("first", encoding="ascii")
    return ApiServer(f"http://127.0.0.1:{server.server_port}", tmp_path)


def test_the_pods_of_apps_are_listed_oldest_first(api: ApiServer, server: Server, tmp_path: Path) -> None:
    """A pod that ends is not ready, and one that has ended does not count.

    The token is read each time: the kubelet replaces it.
    """
    found = api.pods("a=b,c in (d,e)", LABEL)
    (tmp_path / "token").write_text("second", encoding="ascii")
    api.pods("a=b", LABEL)

    assert [("order-b", False), ("order-a", True), ("user-a", False)] == [(each.name, each.is_ready) for each in found]
    assert server.asked == [
        ("GET", "/api/v1/namespaces/shop/pods?labelSelector=a%3Db%2Cc+in+%28d%2Ce%29", "Bearer first"),
        ("GET", "/api/v1/namespaces/shop/pods?labelSelector=a%3Db", "Bearer second"),
    ]


def test_an_eviction_respects_the_budget(api: ApiServer, server: Server) -> None:
    """It is the subresource, not a deletion; a refusal is an error with the reason."""
    api.evict("order-a")
    server.status = 429

    assert server.asked == [("POST", "/api/v1/namespaces/shop/pods/order-a/eviction", "Bearer first")]
    with pytest.raises(OSError, match=r"the API server answers 429: .*violate the budget"):
        api.evict("order-a")


def test_outside_a_cluster_it_says_what_is_missing() -> None:
    """The kubelet sets the address of the API server."""
    words = [sys.executable, "-m", "sidecart.launcher.servers.rabbitmq_pod_keeper", "--selector=a=b", "--app-label=c"]

    found = subprocess.run(words, capture_output=True, text=True, check=False, env={"PYTHONPATH": "src"})

    assert 1 == found.returncode
    assert "setting AMQP_URL, KUBERNETES_SERVICE_HOST, KUBERNETES_SERVICE_PORT: is missing" in found.stderr
