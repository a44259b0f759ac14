"""Tests of three gateways behind one address: each answers its held requests, and a kill or stop
loses none.
"""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections import Counter
from collections.abc import Awaitable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import pytest

from sidecart.launcher.lifecycle.system import System
from sidecart.launcher.servers import valkey_groups
from sidecart.launcher.servers.gone_gateways import GONE_SECONDS, Remover
from sidecart.launcher.topics import GATEWAY
from sidecart.launcher.topology import app_of, readers, replicas_of
from sidecart.testkit.contents import backlog
from sidecart.testkit.tap import Seen, Tap
from tests.e2e.conftest import options
from tests.e2e.replicas import restart_pair, start_pair, stop_pair
from tests.e2e.shopper import SECONDS, TEA, TEA_CENTS, Shopper

GATEWAYS = 3
AT_ONCE = 90
HELD = 100
ACCEPTED = 10
ABANDONED_MS = 10_000
"""A gateway reads its probe event every two seconds."""
TAKE_OVER_SECONDS = 90.0
"""Longer than the bound of 60 s, for a busy machine."""
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


@dataclass(slots=True)
class Holding:
    """A thread that waits for its orders, and their answers."""

    caller: threading.Thread = field(default_factory=threading.Thread)
    answers: list[httpx.Response | BaseException] = field(default_factory=list)


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


def test_every_gateway_refuses_an_erased_user(shopper: Shopper) -> None:
    """One gateway serves the erasure; the others know the user, and learn of it."""
    user_id = shopper.register()["user_id"]
    shopper.deposit(user_id, 2 * GATEWAYS * TEA_CENTS)
    urls = [f"http://127.0.0.1:{shopper.shop.ports[name]}" for name in replicas_of(GATEWAY, GATEWAYS)]

    def statuses() -> list[int]:
        body = {"user_id": user_id, "items": [TEA]}
        return [shopper.http.post(f"{url}/order/create", json=body).status_code for url in urls]

    before = statuses()
    assert 200 == shopper.http.delete(f"{urls[0]}/user/{user_id}").status_code

    assert [201] * GATEWAYS == before
    shopper.until(lambda: [404] * GATEWAYS == statuses(), "the refusals")


def commands(shopper: Shopper) -> list[Seen]:
    """Return the commands to place an order that passed the broker, oldest first."""
    return [one for one in shopper.tap.seen if one.topic == "OrderCreateRequested"]


def hold_at(shopper: Shopper, name: str, user_id: str, keys: Sequence[str], wait_seconds: int) -> Holding:
    """Order with these keys at one gateway, in a thread; return once the commands have passed."""
    before, url = len(commands(shopper)), f"http://127.0.0.1:{shopper.shop.ports[name]}"

    async def send_all() -> list[httpx.Response | BaseException]:
        async with client(shopper, url) as http:
            held = (
                order_at(http, user_id, **{"prefer": f"wait={wait_seconds}", "idempotency-key": key}) for key in keys
            )
            return await asyncio.gather(*held, return_exceptions=True)

    holding = Holding()
    holding.caller = threading.Thread(target=lambda: holding.answers.extend(asyncio.run(send_all())))
    holding.caller.start()
    shopper.until(lambda: len(commands(shopper)) >= before + len(keys), "the commands")
    return holding


def test_other_gateways_answer_for_one_killed_with_held_requests(shopper: Shopper) -> None:
    """A retry with the same key gets the same order with 201, and money is taken once."""
    shop, keys = shopper.shop, [uuid.uuid4().hex for _ in range(HELD)]
    user_id, before = shopper.register()["user_id"], len(commands(shopper))
    shopper.deposit(user_id, HELD * TEA_CENTS)
    for name in replicas_of("order", 2):
        shop.stop_app(name)
    holding = hold_at(shopper, "gateway-1", user_id, keys, wait_seconds=30)
    shop.kill("gateway-1")
    holding.caller.join(SECONDS)
    for name in replicas_of("order", 2):
        shop.start_app(name)

    async def retry_all() -> list[httpx.Response]:
        async with client(shopper) as http:
            return await asyncio.gather(*(order_at(http, user_id, **{"idempotency-key": key}) for key in keys))

    retried = asyncio.run(retry_all())
    shop.start_app("gateway-1")

    assert {True} == {isinstance(each, httpx.HTTPError) for each in holding.answers}
    assert {201} == {answer.status_code for answer in retried}
    ids = {answer.json()["order_id"] for answer in retried}
    assert HELD == len(ids)
    assert ids == {one.event["subject"] for one in commands(shopper)[before:]}
    assert {"OrderPaid"} == {shopper.final(order_id) for order_id in ids}
    assert 0 == shopper.balance(user_id)
    for name in ("gateway-1", *replicas_of("order", 2)):
        shop.wait_ready(name)


def test_another_gateway_takes_over_the_accepted_requests_of_one_that_is_gone(shopper: Shopper) -> None:
    """It publishes their commands again with its own name, and no caller asks for them."""
    shop, keys = shopper.shop, [uuid.uuid4().hex for _ in range(ACCEPTED)]
    user_id = shopper.register()["user_id"]
    for name in replicas_of("order", 2):
        shop.stop_app(name)
    holding = hold_at(shopper, "gateway-2", user_id, keys, wait_seconds=2)
    holding.caller.join(SECONDS)
    shop.kill("gateway-2")
    shop.sidecars.stop("gateway-2")
    answers = [each for each in holding.answers if isinstance(each, httpx.Response)]
    ids = {answer.json()["order_id"] for answer in answers}

    def taken_over() -> set[str]:
        found = (one.event for one in commands(shopper))
        return {each["subject"] for each in found if each["subject"] in ids and each["replyto"] != "gateway-2"}

    shop.deadline.until(lambda: ids == taken_over(), TAKE_OVER_SECONDS, lambda: f"taken over: {taken_over()}")
    for name in replicas_of("order", 2):
        shop.start_app(name)

    assert [202] * ACCEPTED == [answer.status_code for answer in answers]
    assert ACCEPTED == len(ids)
    assert {"OrderNotPaid"} == {shopper.final(order_id) for order_id in ids}
    start_pair(shop, "gateway-2")
    for name in ("gateway-2", *replicas_of("order", 2)):
        shop.wait_ready(name)


def test_a_stopping_gateway_answers_its_held_requests(shopper: Shopper) -> None:
    """After SIGTERM, held requests get 202 soon; the other gateways complete their commands."""
    shop = shopper.shop
    user_id = shopper.register()["user_id"]
    for name in replicas_of("order", 2):
        shop.stop_app(name)

    def commands_seen() -> int:
        return len(commands(shopper))

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
    monkeypatch.setattr(valkey_groups, "ABANDONED_MS", ABANDONED_MS)
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
        others = {f"gateway-2: {kind}" for kind in ("probe", "own replies", "broadcast replies")}
        shopper.until(lambda: {} == remover.look(0) and others <= remover.absent, "the absence of all three")
        early, due = remover.look(GONE_SECONDS - 1), remover.look(GONE_SECONDS)

        assert {} == early
        assert others == due.keys()
        assert all(due.values())
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
