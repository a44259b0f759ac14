"""One deadline per request: whatever hangs, the answer comes within the wait that was asked for and a second."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import httpx
import psutil
import pytest

from cli.servers import rabbitmq
from cli.shop import Shop, get
from cli.supervisor import Supervisor
from cli.tap import Tap
from cli.topology import sidecar_of
from tests.e2e.conftest import broker, options
from tests.e2e.healthy import until_healthy
from tests.e2e.shopper import Shopper, new_address

GATEWAYS = 2
WRITE_SECONDS = 1.0
READ_SECONDS = 3.0
WAITS = (("respond-async", 0), ("wait=3", 3), ("respond-async, wait=2", 2))
USUAL_WATERMARK = "0.4"

pytestmark = pytest.mark.own_shop


@pytest.fixture(scope="module")
def two_gateways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """Two gateways behind the proxy."""
    with Shop(replace(options(tmp_path_factory.mktemp("deadlines")), gateways=GATEWAYS), print) as running:
        yield running


@pytest.fixture(scope="module")
def its_tap(two_gateways: Shop) -> Iterator[Tap]:
    """Every event that passes the broker."""
    with Tap(two_gateways) as running:
        yield running


@pytest.fixture
def shopper(two_gateways: Shop, its_tap: Tap) -> Iterator[Shopper]:
    """A client that knows the one address."""
    with Shopper(two_gateways, its_tap) as someone:
        yield someone


def watermark(shop: Shop, share: str) -> None:
    """Set the share of memory above which RabbitMQ blocks publishers."""
    env = json.loads((shop.data / rabbitmq.NAME / rabbitmq.CONTROL_ENVIRONMENT).read_text(encoding="utf-8"))
    command = [str(rabbitmq.CONTROL_SCRIPT), "set_vm_memory_high_watermark", share]
    subprocess.run(command, env=env, check=True, capture_output=True, timeout=60)


@contextmanager
def blocked(shop: Shop) -> Iterator[None]:
    """RabbitMQ above its memory limit."""
    watermark(shop, "0.00001")
    try:
        yield
    finally:
        watermark(shop, USUAL_WATERMARK)


@contextmanager
def paused(shop: Shop, *names: str) -> Iterator[None]:
    """Processes, with their children, that are there and do nothing."""
    parents = [psutil.Process(shop.processes[name]) for name in names]
    found = [one for parent in parents for one in (parent, *parent.children(recursive=True))]
    for one in found:
        one.suspend()
    try:
        yield
    finally:
        for one in found:
            one.resume()


def all_calls(shopper: Shopper, user_id: str, prefer: str) -> Iterator[tuple[httpx.Response, float]]:
    """Make each call that waits; the answer, and how long it took."""
    calls = {
        "/user/register": {"email": new_address(), "name": "Ann"},
        "/account/deposit": {"user_id": user_id, "amount_cents": 1_000},
        "/order/create": {"user_id": user_id, "items": [{"sku": "tea", "quantity": 1, "unit_price_cents": 0}]},
    }
    for path, body in calls.items():
        began = time.monotonic()
        answer = shopper.http.post(path, json=body, headers={"prefer": prefer})
        yield answer, time.monotonic() - began


def missing(shop: Shop, name: str, query: str = "") -> str:
    """What a gateway says that it misses."""
    return get(shop.app_port(name), f"/readyz{query}")[1]


def test_a_broker_that_blocks_publishing_delays_no_answer(shopper: Shopper, capsys: pytest.CaptureFixture[str]) -> None:
    """202 with a location, before and after the gateways know; /readyz says so; afterwards all of it is carried out."""
    shop, user_id = shopper.shop, shopper.register()["user_id"]
    told, took = [], []
    with blocked(shop):
        for known in (False, True):
            if known:
                shopper.until(lambda: "blocks publishing" in missing(shop, "gateway"), "the gateway to know")
                shopper.until(lambda: "blocks publishing" in missing(shop, "gateway-1"), "the other one to know")
            for prefer, seconds in WAITS:
                for answer, lasted in all_calls(shopper, user_id, prefer):
                    told.append((prefer, answer.status_code, lasted - seconds < WRITE_SECONDS))
                    took.append(f"{prefer}: {lasted:.2f} s")
                    assert answer.headers["location"]
        longest = shopper.http.post(
            "/account/deposit", json={"user_id": user_id, "amount_cents": 1_000}, headers={"prefer": "wait=30"}
        )
        read, exempt = shopper.http.get(f"/user/{user_id}"), missing(shop, "gateway", "?exclude=broker")
    shopper.until(lambda: shop.is_ready("gateway") and shop.is_ready("gateway-1"), "the gateways to be ready again")
    expected = 1_000 * (2 * len(WAITS) + 1)
    shopper.until(lambda: shopper.balance(user_id) == expected, "the deposits")

    with capsys.disabled():
        print("\nwhile the broker blocked publishing:", ", ".join(took))
    assert {(prefer, 202, True) for prefer, _ in WAITS} == set(told)
    assert (202, True) == (longest.status_code, longest.elapsed.total_seconds() < 30 + WRITE_SECONDS)
    assert "/account/" in longest.headers["location"]
    assert 200 == read.status_code
    assert '{"missing":[]}' == exempt
    until_healthy(shop, Supervisor(shop, print))
    shopper.until_prompt()


def test_a_store_that_is_paused_delays_no_answer(shopper: Shopper) -> None:
    """201 where no pending command is needed; else what happened is not known, and the key says how to repeat it."""
    shop, user_id = shopper.shop, shopper.register()["user_id"]
    store = next(name for name in ("postgres", "valkey") if name in shop.processes)
    with paused(shop, store):
        told = [
            (answer, lasted - seconds < WRITE_SECONDS)
            for prefer, seconds in WAITS
            for answer, lasted in all_calls(shopper, user_id, prefer)
        ]
        read, lasted = timed_read(shopper, "/order/0192f0c1-2a3b-7c4d-8e5f-60718293a4b5")
    for name in shop.replicas:
        shop.wait_ready(name)

    for answer, is_in_time in told:
        assert is_in_time
        assert answer.status_code in (201, 202, 503), answer.text
        assert answer.headers["location"], answer.text
        if answer.status_code == 503:
            assert ("urn:sidecart:problem:outcome-unknown", True) == (
                answer.json()["type"],
                "idempotency-key" in answer.headers,
            )
    assert (503, True) == (read.status_code, lasted < READ_SECONDS)
    until_healthy(shop, Supervisor(shop, print))
    shopper.until_prompt()


def test_a_sidecar_that_is_paused_delays_no_answer(shopper: Shopper) -> None:
    """The gateway says so, the proxy asks the other one, and it serves again, on RabbitMQ perhaps after a restart."""
    shop, user_id = shopper.shop, shopper.register()["user_id"]
    holder = httpx.Client(base_url=f"http://127.0.0.1:{shop.app_port('gateway-1')}", timeout=60, trust_env=False)
    with holder, paused(shop, sidecar_of("gateway-1")):
        direct = Shopper(shop, shopper.tap)
        direct.http = holder
        for prefer, seconds in WAITS:
            for answer, lasted in all_calls(direct, user_id, prefer):
                assert lasted - seconds < WRITE_SECONDS
                assert (503, True) == (answer.status_code, bool(answer.headers["location"])), answer.text
        read, lasted = timed_read(direct, f"/user/{user_id}")
        assert (503, True) == (read.status_code, lasted < READ_SECONDS)
        shopper.until(lambda: "sidecar does not answer" in missing(shop, "gateway-1", "?exclude=broker"), "its word")
        time.sleep(2)  # four looks of the proxy
        others = [answer.status_code for answer, _ in all_calls(shopper, user_id, "wait=5")]
    shop.wait_ready("gateway-1")

    assert [201, 201, 201] == others
    until_healthy(shop, Supervisor(shop, print))
    shopper.until_prompt()


if broker() != "rabbitmq":  # Redis blocks no publishers: it refuses at once what it has no memory for
    del test_a_broker_that_blocks_publishing_delays_no_answer


def timed_read(shopper: Shopper, path: str) -> tuple[httpx.Response, float]:
    """Read something; the answer, and how long it took."""
    began = time.monotonic()
    return shopper.http.get(path), time.monotonic() - began
