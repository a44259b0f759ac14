"""Tests of three gateways behind one address: each answers its held requests, and a kill or stop
loses none.
"""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections import Counter
from collections.abc import Awaitable, Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from sidecart.launcher.lifecycle.system import System
from sidecart.launcher.servers import valkey_groups
from sidecart.launcher.servers.gone_gateways import GONE_SECONDS, Remover
from sidecart.launcher.topics import GATEWAY
from sidecart.launcher.topology import app_of, readers, replicas_of
from sidecart.testkit.contents import backlog
from sidecart.testkit.tap import Tap
from tests.e2e.conftest import options
from tests.e2e.replicas import restart_pair, start_pair, stop_pair
from tests.e2e.shopper import SECONDS, TEA, TEA_CENTS, Shopper

GATEWAYS = 3
AT_ONCE = 90
PER_SECOND = 20

pytestmark = pytest.mark.own_shop


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the data folder of this module's shop, which a later start with fewer gateways uses
    again.
    """
    return tmp_path_factory.mktemp("gateways")


@pytest.fixture(scope="module")
def gateways_shop(folder: Path) -> Iterator[System]:
    """Start a shop with three gateways and two Order Services."""
    with System(replace(options(folder), gateways=GATEWAYS, replicas={"order": 2}), print) as running:
        yield running


@pytest.fixture(scope="module")
def gateways_tap(gateways_shop: System) -> Iterator[Tap]:
    """Return a tap, which records every event that passes the broker."""
    with Tap(gateways_shop) as running:
        yield running


@pytest.fixture
def shopper(gateways_shop: System, gateways_tap: Tap) -> Iterator[Shopper]:
    """Return a client of the one address."""
    with Shopper(gateways_shop, gateways_tap) as client:
        yield client


def order_at(http: httpx.AsyncClient, user_id: str, **headers: str) -> Awaitable[httpx.Response]:
    """Order tea, held for up to 30 s."""
    body = {"user_id": user_id, "items": [TEA]}
    return http.post("/order/create", json=body, headers={"prefer": "wait=30", **headers})


def client(shopper: Shopper, url: str = "") -> httpx.AsyncClient:
    """Return a client with a new connection per call, to spread the calls over the gateways."""
    return shopper.concurrent(url, limits=httpx.Limits(max_keepalive_connections=0))


def test_the_gateway_that_holds_a_request_answers_it(shopper: Shopper) -> None:
    """All concurrent orders through the one address are answered 201 and paid."""
    user_id = shopper.register()["user_id"]
    shopper.deposit(user_id, AT_ONCE * TEA_CENTS)

    async def send_all() -> list[httpx.Response]:
        async with client(shopper) as http:
            return await asyncio.gather(*(order_at(http, user_id) for _ in range(AT_ONCE)))

    answers = asyncio.run(send_all())

    assert {201} == {answer.status_code for answer in answers}
    assert AT_ONCE == len({answer.json()["order_id"] for answer in answers})
    assert {"OrderPaid"} == {shopper.final(answer.json()["order_id"]) for answer in answers}
    assert 0 == shopper.balance(user_id)


def test_another_gateway_answers_for_one_killed_mid_request(shopper: Shopper) -> None:
    """A retry with the same key gets the same order with 201, and money is taken once."""
    shop, key = shopper.shop, uuid.uuid4().hex
    user_id = shopper.register()["user_id"]
    shopper.deposit(user_id, 5_000)
    for name in replicas_of("order", 2):
        shop.stop_app(name)
    holder = f"http://127.0.0.1:{shop.ports['gateway-1']}"
    broken: list[Exception] = []

    def hold() -> None:
        try:
            body, headers = {"user_id": user_id, "items": [TEA]}, {"prefer": "wait=30", "idempotency-key": key}
            url = f"{holder}/order/create"
            httpx.post(url, json=body, headers=headers, timeout=SECONDS, trust_env=False, auth=shopper.acting)
        except httpx.HTTPError as error:
            broken.append(error)

    passed_before = sum(one.topic == "OrderCreateRequested" for one in shopper.tap.seen)
    caller = threading.Thread(target=hold)
    caller.start()
    shopper.until(
        lambda: sum(one.topic == "OrderCreateRequested" for one in shopper.tap.seen) > passed_before, "the command"
    )
    shop.kill("gateway-1")
    caller.join(SECONDS)
    for name in replicas_of("order", 2):
        shop.start_app(name)
    retried = shopper.http.post(
        "/order/create",
        json={"user_id": user_id, "items": [TEA]},
        headers={"prefer": "wait=30", "idempotency-key": key},
    )
    shop.start_app("gateway-1")

    requested = [one for one in shopper.tap.seen if one.topic == "OrderCreateRequested"][passed_before:]
    assert 1 == len(broken)
    assert 201 == retried.status_code
    assert {retried.json()["order_id"]} == {one.event["subject"] for one in requested}
    assert "OrderPaid" == shopper.final(retried.json()["order_id"])
    assert 5_000 - TEA_CENTS == shopper.balance(user_id)
    for name in ("gateway-1", *replicas_of("order", 2)):
        shop.wait_ready(name)


def test_a_stopping_gateway_answers_its_held_requests(shopper: Shopper) -> None:
    """After SIGTERM, held requests get 202 soon; the other gateways complete their commands."""
    shop = shopper.shop
    user_id = shopper.register()["user_id"]
    for name in replicas_of("order", 2):
        shop.stop_app(name)

    def commands_seen() -> int:
        return sum(one.topic == "OrderCreateRequested" for one in shopper.tap.seen)

    before = commands_seen()

    async def send_all() -> list[httpx.Response]:
        async with client(shopper, f"http://127.0.0.1:{shop.ports['gateway-2']}") as http:
            held = [asyncio.create_task(_answered(order_at(http, user_id))) for _ in range(20)]
            await asyncio.to_thread(shopper.until, lambda: commands_seen() == before + len(held), "the commands")
            await asyncio.to_thread(shop.stop_app, "gateway-2")
            return await asyncio.gather(*held)

    answers = asyncio.run(send_all())
    for name in (*replicas_of("order", 2), "gateway-2"):
        shop.start_app(name)
        shop.wait_ready(name)

    assert {202} == {answer.status_code for answer in answers}
    locations = [answer.headers["location"] for answer in answers]
    shopper.until(lambda: {200} == {shopper.http.get(each).status_code for each in locations}, "the orders")


async def _answered(call: Awaitable[httpx.Response]) -> httpx.Response:
    return await call


def test_what_a_gone_gateway_left_is_removed(shopper: Shopper, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten minutes after a scale-in its groups and queues go, with their events; all others stay."""
    monkeypatch.setattr(valkey_groups, "ABANDONED_MS", 0)  # a reader that has read everything still reads
    shop = shopper.shop
    remover = Remover(shop.broker, shop.broker_address)
    kept = {(one.consumer_id, one.topic) for one in readers(replicas_of(GATEWAY, GATEWAYS - 1))}

    def known() -> set[tuple[str, str]]:
        """Return the groups and the queues of all gateways, also those without events."""
        every = list(readers(replicas_of(GATEWAY, GATEWAYS)))
        missing = shop.broker.missing(shop.broker_address, every)
        return {(one.consumer_id, one.topic) for one in every} - {(one.consumer_id, one.topic) for one in missing}

    assert {} == remover.look(0)
    stop_pair(shop, "gateway-2")
    try:
        shopper.register()  # an event without a reader there
        shopper.until(lambda: {} == remover.look(0) and "gateway-2" in remover.absent, "the absence")
        early, due = remover.look(GONE_SECONDS - 1), remover.look(GONE_SECONDS)

        assert {} == early
        assert ["gateway-2"] == list(due)
        assert due["gateway-2"] > 0
        assert kept == known()
        assert {} == remover.look(2 * GONE_SECONDS)
    finally:
        start_pair(shop, "gateway-2")
        shop.wait_ready("gateway-2")
    shopper.register()


def test_a_rolling_restart_fails_no_request(shopper: Shopper, capsys: pytest.CaptureFixture[str]) -> None:
    """Every app and sidecar restarts under load; each order gets 201 or 202 and is completed."""
    shop = shopper.shop
    user_id = shopper.register()["user_id"]
    done = threading.Event()

    async def load() -> list[httpx.Response]:
        requests: list[asyncio.Task[httpx.Response]] = []
        async with client(shopper) as http:
            while not done.is_set():
                requests.append(asyncio.create_task(_answered(order_at(http, user_id, prefer="wait=5"))))
                await asyncio.sleep(1 / PER_SECOND)
            return await asyncio.gather(*requests)

    answers: list[httpx.Response] = []
    caller = threading.Thread(target=lambda: answers.extend(asyncio.run(load())))
    caller.start()
    try:
        for name in shop.replicas:
            restart_pair(shop, name)
    finally:
        done.set()
        caller.join(SECONDS)

    statuses = Counter(answer.status_code for answer in answers)
    with capsys.disabled():
        print(f"\nrolling restart of {2 * len(shop.replicas)} processes: {dict(statuses)}")
    assert Counter() == Counter(answer.json()["detail"] for answer in answers if answer.status_code not in (201, 202))
    locations = [answer.headers["location"] for answer in answers]
    shopper.until(lambda: {200} == {shopper.http.get(each).status_code for each in locations}, "the orders")
    assert {"OrderNotPaid"} == {shopper.final(answer.json()["order_id"]) for answer in answers}


def test_the_consumers_of_removed_gateways_are_removed(gateways_shop: System, folder: Path) -> None:
    """After a start with one gateway in the same folder, the broker has the consumers of this
    gateway only.
    """
    gateways_shop.stop()
    with System(options(folder), print) as fewer:
        consumers = {each.consumer for each in backlog(fewer)}
        expected = {one.consumer_id for one in readers(fewer.replicas)}

    assert "gateway-0" in consumers
    assert set() == {name for name in consumers if app_of(name) == GATEWAY} - {"gateway-0"}
    assert expected <= consumers
