"""What runs and is asked: sidecars by what they answer, servers by what they say of themselves."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import valkey as client_of

from cli.blocking_errors import BlockingError
from cli.daprd import VERSION
from cli.deadline import Deadline
from cli.doctor import probes, running
from cli.doctor.findings import Place
from cli.doctor.probes import Answer
from cli.doctor.resources import Component
from cli.doctor.yaml_files import read
from cli.processes import Processes
from cli.project import ROOT
from cli.runfile import RunFile
from cli.servers import valkey
from cli.servers.registry import STORES
from cli.topics import Subscription

PUBSUB = Component(read(ROOT / "components/brokers/redis/pubsub.yaml")[0])
REPLIES = Component(read(ROOT / "components/brokers/redis/replies.yaml")[0])
METADATA = {"id": "order", "runtimeVersion": VERSION, "components": [{"name": "pubsub"}], "subscriptions": []}
RAW = {"rawPayload": "true"}
HERE = Place("http://127.0.0.1:3500")


def reported(health: int, status: int = 200, token: str = "secret", **changed: object) -> list[str]:
    """The rules that speak of a sidecar that answers like this to who has the token."""

    def ask(path: str, given: str) -> Answer:
        if token and given != token:
            return Answer(401, "")
        return Answer(health, "") if path == "/v1.0/healthz" else Answer(status, json.dumps(METADATA | changed))

    return [one.rule for one in probes.sidecar(HERE, token, [PUBSUB, REPLIES], ask)]


def test_a_sidecar_that_is_well_is_well() -> None:
    """`replies` is scoped to the gateway, so the Order Service's has not loaded it."""
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
def test_what_is_wrong_with_a_sidecar_is_named(rule: str, health: int, changed: dict[str, object]) -> None:
    """By one finding."""
    assert [rule] == reported(health, **changed)  # type: ignore[arg-type]  # the keywords differ from case to case


def test_an_answer_that_is_no_metadata_is_told() -> None:
    """Something else listens there."""
    found = probes.sidecar(HERE, "", [], lambda path, token: Answer(200, "<html>"))

    assert ["sidecar-unhealthy"] == [one.rule for one in found]


class Stranger(BaseHTTPRequestHandler):
    """Answers everything with the token that it was sent."""

    def do_GET(self) -> None:
        """Echo."""
        body = f"{self.path} {self.headers.get('dapr-api-token', '')}".encode()
        self.send_response(418 if "teapot" in self.path else 200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def test_a_sidecar_is_asked_with_the_token() -> None:
    """A refusal has a status and a body, too."""
    with HTTPServer(("127.0.0.1", 0), Stranger) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        ask = probes.asking(f"http://127.0.0.1:{server.server_port}/")
        answers = [ask("/a", "secret"), ask("/a", ""), ask("/teapot", "")]
        server.shutdown()
        thread.join()

    assert [Answer(200, "/a secret"), Answer(200, "/a "), Answer(418, "/teapot ")] == answers
    assert 0 == ask("/a", "").status


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a server listens that was started as the launcher does."""
    processes = Processes(tmp_path_factory.mktemp("logs"))
    try:
        yield STORES["redis"].start(processes, tmp_path_factory.mktemp("data"), Deadline())
    finally:
        processes.stop([valkey.NAME], valkey.STOP_SECONDS)


def test_our_own_redis_keeps_everything(address: str) -> None:
    """A real server, by its own CONFIG."""
    assert [] == running.redis(address)


@pytest.mark.parametrize(
    ("rule", "settings"),
    [
        ("redis-not-append-only", {"appendonly": "no"}),
        ("redis-evicts", {"maxmemory": "100mb", "maxmemory-policy": "allkeys-lru"}),
    ],
)
def test_what_a_redis_would_lose_is_named(address: str, rule: str, settings: dict[str, str]) -> None:
    """A real server that is told otherwise."""
    with client_of.Valkey.from_url(f"redis://{address}") as client:
        before = {name: str(client.config_get(name)[name]) for name in settings}
        for name, value in settings.items():
            client.config_set(name, value)
        found = running.redis(address)
        for name, value in before.items():
            client.config_set(name, value)

    assert [(rule, address)] == [(one.rule, one.place.file) for one in found]


@pytest.mark.parametrize(("timeout_ms", "expected"), [(None, 0), (300_000, 0), (1_800_000, 1), (180_000_000, 1)])
def test_how_long_rabbitmq_waits_is_told(timeout_ms: int | None, expected: int) -> None:
    """From its default on."""
    assert expected == len(probes.rabbitmq("rabbitmq", timeout_ms))


def test_who_reads_wrongly_is_named() -> None:
    """With the topic, and whose sidecar it is."""
    (one,) = probes.readers("redis", [Subscription("order", "order", "inbox", "OrderPaid")])

    assert ("read-wrongly", "redis:OrderPaid") == (one.rule, one.place.file)
    assert "sidecar of order" in one.fix


def test_what_hinders_a_reader_is_said_with_it() -> None:
    """The server's words and the remedy, for the app whose sidecar met it."""
    wrongly = [Subscription(app_id, app_id, "inbox", "OrderPaid") for app_id in ("order", "notification")]
    other, blocked = probes.readers("redis", wrongly, {"notification": BlockingError("WRONGTYPE", "delete the key")})

    assert "too few readers" in other.what
    assert blocked.what.endswith("as it should: WRONGTYPE")
    assert "delete the key" == blocked.fix


def test_each_sidecar_of_the_running_shop_is_asked(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """Also one that has ended; and who should read is compared with who does."""
    monkeypatch.delenv("REDIS_HOST", raising=False)
    ports = {"order": 1, "order-sidecar": 1, "valkey": int(address.rpartition(":")[2])}
    found = running.shop(RunFile(launcher=1, broker="redis", store="redis", ready=True, ports=ports))

    assert ["order-sidecar http://127.0.0.1:1"] == [
        one.place.file for one in found if one.rule == "sidecar-unreachable"
    ]
    assert "redis:OrderCreateRequested" in [one.place.file for one in found if one.rule == "read-wrongly"]


def test_a_server_that_is_unreachable_is_told() -> None:
    """And nothing is raised."""
    assert [("server-unreachable", "127.0.0.1:1")] == [
        (one.rule, one.place.file) for one in running.redis("127.0.0.1:1")
    ]
