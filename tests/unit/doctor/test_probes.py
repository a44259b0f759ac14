"""Checks of running processes: sidecars, Redis, RabbitMQ and the running shop."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import valkey as client_of

from sidecart.doctor import probes, running
from sidecart.doctor.findings import Place
from sidecart.doctor.probes import Answer
from sidecart.doctor.resources import Component
from sidecart.doctor.yaml_files import read
from sidecart.launcher.blocking_errors import BlockingError
from sidecart.launcher.daprd import VERSION
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.processes import Processes
from sidecart.launcher.project import root
from sidecart.launcher.runfile import RunFile
from sidecart.launcher.servers import valkey
from sidecart.launcher.servers.addresses import without_password
from sidecart.launcher.servers.registry import STORES
from sidecart.launcher.topics import Subscription

PUBSUB = Component(read(root() / "components/brokers/redis/pubsub.yaml")[0])
REPLIES = Component(read(root() / "components/brokers/redis/replies.yaml")[0])
METADATA = {"id": "order", "runtimeVersion": VERSION, "components": [{"name": "pubsub"}], "subscriptions": []}
RAW = {"rawPayload": "true"}
HERE = Place("http://127.0.0.1:3500")


def reported(health: int, status: int = 200, token: str = "secret", **changed: object) -> list[str]:
    """The rules that a sidecar with these answers breaks; only requests with the token succeed."""

    def ask(path: str, sent: str) -> Answer:
        if token and sent != token:
            return Answer(401, "")
        return Answer(health, "") if path == "/v1.0/healthz" else Answer(status, json.dumps(METADATA | changed))

    return [one.rule for one in probes.sidecar(HERE, token, [PUBSUB, REPLIES], ask)]


def test_a_healthy_sidecar_has_no_findings() -> None:
    """`replies` is scoped to the gateway, so the Order Service's sidecar need not load it."""
    assert [] == reported(204)


@pytest.mark.parametrize(
    ("rule", "health", "changed"),
    [
        ("sidecar-unreachable", 0, {}),
        ("sidecar-refuses", 204, {"status": 401}),
        ("sidecar-unhealthy", 500, {}),
        ("sidecar-unhealthy", 204, {"status": 404}),
        ("no-api-token", 204, {"token": ""}),
        ("daprd-other-version", 204, {"runtimeVersion": "1.14.0"}),
        ("component-not-loaded", 204, {"components": []}),
        ("publish-only-is-read", 204, {"subscriptions": [{"pubsubname": "pubsub", "topic": "t", "metadata": RAW}]}),
        ("unparseable-never-arrives", 204, {"subscriptions": [{"pubsubname": "inbox", "topic": "t"}]}),
    ],
)
def test_each_sidecar_problem_has_its_rule(rule: str, health: int, changed: dict[str, object]) -> None:
    """Each problem produces exactly one finding."""
    assert [rule] == reported(health, **changed)  # type: ignore[arg-type]  # keywords vary


def test_an_answer_that_is_not_metadata_is_reported() -> None:
    """Another program may listen on the port."""
    found = probes.sidecar(HERE, "", [], lambda path, token: Answer(200, "<html>"))

    assert ["sidecar-unhealthy"] == [one.rule for one in found]


class Echo(BaseHTTPRequestHandler):
    """Answers every request with its path and token."""

    def do_GET(self) -> None:
        """Echo the request."""
        body = f"{self.path} {self.headers.get('dapr-api-token', '')}".encode()
        self.send_response(418 if "teapot" in self.path else 200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def test_requests_carry_the_token() -> None:
    """The status and body of an error response are returned as well."""
    with HTTPServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        ask = probes.asking(f"http://127.0.0.1:{server.server_port}/")
        answers = [ask("/a", "secret"), ask("/a", ""), ask("/teapot", "")]
        server.shutdown()
        thread.join()

    assert [Answer(200, "/a secret"), Answer(200, "/a "), Answer(418, "/teapot ")] == answers
    assert 0 == ask("/a", "").status


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server that the launcher's code started."""
    processes = Processes(tmp_path_factory.mktemp("logs"))
    try:
        yield STORES["redis"].start(processes, tmp_path_factory.mktemp("data"), Deadline())
    finally:
        processes.stop([valkey.NAME], valkey.STOP_SECONDS)


def test_the_launchers_redis_has_no_findings(address: str) -> None:
    """The doctor reads the CONFIG of a real server."""
    assert [] == running.redis(address)


@pytest.mark.parametrize(
    ("rule", "settings"),
    [
        ("redis-not-append-only", {"appendonly": "no"}),
        ("redis-evicts", {"maxmemory": "100mb", "maxmemory-policy": "allkeys-lru"}),
    ],
)
def test_redis_settings_that_lose_data_are_reported(address: str, rule: str, settings: dict[str, str]) -> None:
    """The doctor reads the changed CONFIG of a real server."""
    with client_of.Valkey.from_url(f"redis://{address}") as client:
        before = {name: str(client.config_get(name)[name]) for name in settings}
        for name, value in settings.items():
            client.config_set(name, value)
        found = running.redis(address)
        for name, value in before.items():
            client.config_set(name, value)

    assert [(rule, without_password(address))] == [(one.rule, one.place.file) for one in found]


@pytest.mark.parametrize(("timeout_ms", "expected"), [(None, 0), (300_000, 0), (1_800_000, 1), (180_000_000, 1)])
def test_a_long_rabbitmq_consumer_timeout_is_reported(timeout_ms: int | None, expected: int) -> None:
    """The note appears from RabbitMQ's default of 30 minutes upward."""
    assert expected == len(probes.rabbitmq("rabbitmq", timeout_ms))


def test_a_misread_topic_is_reported() -> None:
    """The finding names the topic and the app of the sidecar."""
    (one,) = probes.readers("redis", [Subscription("order", "order", "inbox", "OrderPaid")])

    assert ("read-wrongly", "redis:OrderPaid") == (one.rule, one.place.file)
    assert "sidecar of order" in one.fix


def test_a_misread_topic_has_the_servers_error() -> None:
    """The finding has the server's error and remedy, for the app whose sidecar logged it."""
    misread = [Subscription(app_id, app_id, "inbox", "OrderPaid") for app_id in ("order", "notification")]
    other, blocked = probes.readers("redis", misread, {"notification": BlockingError("WRONGTYPE", "delete the key")})

    assert "too few readers" in other.what
    assert blocked.what.endswith("correctly: WRONGTYPE")
    assert "delete the key" == blocked.fix


def test_each_sidecar_of_the_running_shop_is_checked(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """Stopped sidecars are reported, and expected readers are compared with actual ones."""
    monkeypatch.delenv("REDIS_HOST", raising=False)
    ports = {"order": 1, "order-sidecar": 1, "valkey": int(address.rpartition(":")[2])}
    found = running.system(
        RunFile(launcher=1, broker="redis", store="redis", ready=True, ports=ports, addresses={"REDIS_HOST": address})
    )

    assert ["order-sidecar http://127.0.0.1:1"] == [
        one.place.file for one in found if one.rule == "sidecar-unreachable"
    ]
    assert "redis:OrderCreateRequested" in [one.place.file for one in found if one.rule == "read-wrongly"]


def test_an_unreachable_server_is_reported() -> None:
    """The error becomes a finding."""
    assert [("server-unreachable", "127.0.0.1:1")] == [
        (one.rule, one.place.file) for one in running.redis("127.0.0.1:1")
    ]
