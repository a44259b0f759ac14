"""Tests of the deadline of each request: whatever hangs, the response comes within the wait plus
one second.
"""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import httpx
import psutil
import pytest

from sidecart.launcher.lifecycle.supervisor import Supervisor
from sidecart.launcher.lifecycle.system import System
from sidecart.launcher.local_http import get
from sidecart.launcher.servers import rabbitmq
from sidecart.launcher.topology import sidecar_of
from sidecart.testkit.faults.injector import send
from sidecart.testkit.tap import Tap
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
def two_gateways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Start a shop with two gateways behind the proxy."""
    with System(replace(options(tmp_path_factory.mktemp("deadlines")), gateways=GATEWAYS), print) as running:
        yield running


@pytest.fixture(scope="module")
def deadlines_tap(two_gateways: System) -> Iterator[Tap]:
    """Return a tap, which records every event that passes the broker."""
    with Tap(two_gateways) as running:
        yield running


@pytest.fixture
def shopper(two_gateways: System, deadlines_tap: Tap) -> Iterator[Shopper]:
    """Return a client of the proxy."""
    with Shopper(two_gateways, deadlines_tap) as client:
        yield client


def watermark(shop: System, share: str) -> None:
    """Set the share of memory above which RabbitMQ blocks publishers."""
    env = json.loads((shop.data / rabbitmq.NAME / rabbitmq.CONTROL_ENVIRONMENT).read_text(encoding="utf-8"))
    command = [str(rabbitmq.CONTROL_SCRIPT), "set_vm_memory_high_watermark", share]
    subprocess.run(command, env=env, check=True, capture_output=True, timeout=60)


@contextmanager
def blocked(shop: System) -> Iterator[None]:
    """Keep RabbitMQ above its memory limit, so that it blocks publishers."""
    watermark(shop, "0.00001")
    try:
        yield
    finally:
        watermark(shop, USUAL_WATERMARK)


@contextmanager
def paused(shop: System, *names: str) -> Iterator[None]:
    """Pause processes and their children with SIGSTOP."""
    parents = [psutil.Process(shop.processes[name]) for name in names]
    found = [one for parent in parents for one in (parent, *parent.children(recursive=True))]
    send(found, signal.SIGSTOP)
    try:
        yield
    finally:
        send(found, signal.SIGCONT)


def all_calls(shopper: Shopper, user_id: str, prefer: str) -> Iterator[tuple[httpx.Response, float]]:
    """Make each call that waits; yield the response and its seconds."""
    calls = {
        "/user/register": {"email": new_address(), "name": "Ann"},
        "/account/deposit": {"user_id": user_id, "amount_cents": 1_000},
        "/order/create": {"user_id": user_id, "items": [{"sku": "sample", "quantity": 1, "unit_price_cents": 0}]},
    }
    for path, body in calls.items():
        started = time.monotonic()
        answer = shopper.http.post(path, json=body, headers={"prefer": prefer})
        yield answer, time.monotonic() - started


def missing(shop: System, name: str, query: str = "") -> str:
    """Return the missing parts in a gateway's /readyz."""
    return get(shop.ports[name], f"/readyz{query}")[1]


def test_a_broker_that_blocks_publishing_delays_no_answer(shopper: Shopper, capsys: pytest.CaptureFixture[str]) -> None:
    """Calls get 202 with a location while the broker blocks; /readyz names the reason; all commands
    complete later.
    """
    shop, user_id = shopper.shop, shopper.register()["user_id"]
    outcomes, printed = [], []
    with blocked(shop):
        for known in (False, True):
            if known:
                shopper.until(lambda: "blocks publishing" in missing(shop, "gateway"), "the gateway to know")
                shopper.until(lambda: "blocks publishing" in missing(shop, "gateway-1"), "the other gateway to know")
            for prefer, seconds in WAITS:
                for answer, seconds_taken in all_calls(shopper, user_id, prefer):
                    outcomes.append((prefer, answer.status_code, seconds_taken - seconds < WRITE_SECONDS))
                    printed.append(f"{prefer}: {seconds_taken:.2f} s")
                    assert answer.headers["location"]
        longest = shopper.http.post(
            "/account/deposit", json={"user_id": user_id, "amount_cents": 1_000}, headers={"prefer": "wait=30"}
        )
        read, exempt = shopper.http.get(f"/user/{user_id}"), missing(shop, "gateway", "?exclude=broker")
    shopper.until(lambda: shop.is_ready("gateway") and shop.is_ready("gateway-1"), "the gateways to be ready again")
    expected = 1_000 * (2 * len(WAITS) + 1)
    shopper.until(lambda: shopper.balance(user_id) == expected, "the deposits")

    with capsys.disabled():
        print("\nwhile the broker blocked publishing:", ", ".join(printed))
    assert {(prefer, 202, True) for prefer, _ in WAITS} == set(outcomes)
    assert (202, True) == (longest.status_code, longest.elapsed.total_seconds() < 30 + WRITE_SECONDS)
    assert "/account/" in longest.headers["location"]
    assert 200 == read.status_code
    assert '{"missing":[]}' == exempt
    until_healthy(shop, Supervisor(shop, print))
    shopper.until_prompt()


def test_a_store_that_is_paused_delays_no_answer(shopper: Shopper) -> None:
    """Calls get 201, 202, or 503 `outcome-unknown` with an Idempotency-Key for the retry."""
    shop, user_id = shopper.shop, shopper.register()["user_id"]
    store = next(name for name in ("postgres", "valkey") if name in shop.processes)
    with paused(shop, store):
        outcomes = [
            (answer, seconds_taken - seconds < WRITE_SECONDS)
            for prefer, seconds in WAITS
            for answer, seconds_taken in all_calls(shopper, user_id, prefer)
        ]
        read, seconds_taken = timed_read(shopper, "/order/0192f0c1-2a3b-7c4d-8e5f-60718293a4b5")
    for name in shop.replicas:
        shop.wait_ready(name)

    for answer, is_in_time in outcomes:
        assert is_in_time
        assert answer.status_code in (201, 202, 503), answer.text
        assert answer.headers["location"], answer.text
        if answer.status_code == 503:
            assert ("urn:sidecart:problem:outcome-unknown", True) == (
                answer.json()["type"],
                "idempotency-key" in answer.headers,
            )
    assert (503, True) == (read.status_code, seconds_taken < READ_SECONDS)
    until_healthy(shop, Supervisor(shop, print))
    shopper.until_prompt()


def test_a_sidecar_that_is_paused_delays_no_answer(shopper: Shopper) -> None:
    """The gateway reports its paused sidecar, and the proxy uses the other gateway until the
    sidecar answers again.
    """
    shop, user_id = shopper.shop, shopper.register()["user_id"]
    url = f"http://127.0.0.1:{shop.ports['gateway-1']}"
    holder = httpx.Client(base_url=url, timeout=60, trust_env=False, auth=shopper.acting)
    with holder, paused(shop, sidecar_of("gateway-1")):
        direct = Shopper(shop, shopper.tap)
        direct.http = holder
        for prefer, seconds in WAITS:
            for answer, seconds_taken in all_calls(direct, user_id, prefer):
                assert seconds_taken - seconds < WRITE_SECONDS
                assert (503, True) == (answer.status_code, bool(answer.headers["location"])), answer.text
        read, seconds_taken = timed_read(direct, f"/user/{user_id}")
        assert (503, True) == (read.status_code, seconds_taken < READ_SECONDS)
        shopper.until(
            lambda: "sidecar does not answer" in missing(shop, "gateway-1", "?exclude=broker"),
            "the report of gateway-1",
        )
        time.sleep(2)  # no event tells that the proxy has seen it, which takes up to 1.5 s
        others = [answer.status_code for answer, _ in all_calls(shopper, user_id, "wait=5")]
    shop.wait_ready("gateway-1")

    assert [201, 201, 201] == others
    until_healthy(shop, Supervisor(shop, print))
    shopper.until_prompt()


# Redis never blocks publishers: without memory it refuses writes at once
if broker() != "rabbitmq":
    del test_a_broker_that_blocks_publishing_delays_no_answer


def timed_read(shopper: Shopper, path: str) -> tuple[httpx.Response, float]:
    """Read a path; return the response and its seconds."""
    started = time.monotonic()
    return shopper.http.get(path), time.monotonic() - started
