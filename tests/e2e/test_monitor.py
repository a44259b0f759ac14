"""The live page's events on a real broker: all that passes while somebody looks, nothing left when nobody does."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import urlsplit

import httpx
import pytest

from cli.doctor import running
from cli.monitor import NAME
from cli.run import described
from cli.shop import Shop
from cli.topics import subscriptions
from cli.topology import sidecar_of
from tests.e2e.conftest import options
from tests.e2e.live_client import LiveClient, Notice, steps
from tests.e2e.shopper import SECONDS, TEA, new_address
from tests.e2e.test_unparseable import put, put_at_the_broker

pytestmark = [pytest.mark.own_shop, pytest.mark.sidecars]

GRACE_SECONDS = 10
"""An order has to pass within it, on a machine that does other things."""
UNPAID = {
    "OrderCreateRequested",
    "OrderCreated",
    "OrderPaymentRequested",
    "OrderPaymentFailed",
    "OrderNotPaid",
    "EmailRequested",
}


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A shop with a live page that nobody looks at yet."""
    made = options(tmp_path_factory.mktemp("watched"))
    with Shop(replace(made, monitor=True, env={"GRACE_SECONDS": str(GRACE_SECONDS)}), print) as running:
        yield running


@pytest.fixture
def http_of(watched: Shop) -> Iterator[httpx.Client]:
    """Somebody who calls the gateway, not through the page."""
    with httpx.Client(base_url=watched.url, timeout=SECONDS, trust_env=False) as client:
        yield client


def registered(http: httpx.Client) -> str:
    """A new user's id."""
    answer = http.post("/user/register", json={"email": new_address(), "name": "Ann"})
    assert 201 == answer.status_code, answer.text
    return str(answer.json()["user_id"])


def ordered(http: httpx.Client, user_id: str) -> str:
    """The id of an order that cannot be paid."""
    answer = http.post("/order/create", json={"user_id": user_id, "items": [TEA]})
    assert 201 == answer.status_code, answer.text
    return str(answer.json()["order_id"])


def is_over(order_id: str, notices: list[Notice]) -> bool:
    """Whether all of an order was told, its mail too."""
    return len(steps(notices, order_id)) == len(UNPAID) + 1


def until_forgotten(shop: Shop) -> None:
    """Wait until the broker keeps nothing for the live page, neither a group nor a queue."""
    shop.deadline.until(
        lambda: NAME not in {each.consumer for each in shop.broker.backlog(shop.broker_address, shop.data)},
        SECONDS,
        lambda: "the broker still keeps something for the live page",
        step_seconds=0.5,
    )


def test_the_doctor_compares_each_sidecar_with_what_it_was_told_to_read(watched: Shop) -> None:
    """That of the page reads neither a store nor a policy; one that should have a store and has none is found."""
    notices = described(watched)
    asked = {f"{name} http://127.0.0.1:{watched.ports[name]}" for name in watched.resources}
    found = [one for one in running.shop(notices) if one.place.file in asked]
    notices.resources[sidecar_of(NAME)] = notices.resources[sidecar_of("order")]
    missed = [(one.rule, one.what) for one in running.shop(notices) if one.place.file in asked]

    assert sidecar_of(NAME) in watched.resources
    assert [] == found
    assert [("component-not-loaded", True)] == [(rule, "statestore" in what) for rule, what in missed]


def test_only_what_passes_while_somebody_looks_is_seen_and_nothing_is_left(
    watched: Shop, http_of: httpx.Client
) -> None:
    """What passed before is not replayed; after the last looker no group and no queue is there; the shop's all are."""
    user_id = registered(http_of)
    before = ordered(http_of, user_id)
    with LiveClient(watched.monitor_url) as live_client:
        live_client.until_tap("on")
        order_id = ordered(http_of, user_id)
        notices = live_client.until(lambda notices: is_over(order_id, notices), "the whole order")
    until_forgotten(watched)

    assert UNPAID < set(steps(notices, order_id))
    assert [] == steps(notices, before)
    assert [] == watched.broker.missing(watched.broker_address, subscriptions("gateway-0"))


def test_who_comes_back_has_missed_nothing_though_nobody_looked(watched: Shop, http_of: httpx.Client) -> None:
    """The tap outlives the last looker for a while; the ids of what he gets continue his own."""
    user_id = registered(http_of)
    with LiveClient(watched.monitor_url) as live_client:
        live_client.until_tap("on")
    order_id = ordered(http_of, user_id)
    with LiveClient(watched.monitor_url, live_client.last_id) as again:
        notices = again.until(lambda notices: is_over(order_id, notices), "what was missed")

    numbers = [int(each.id.rpartition("-")[2]) for each in notices]
    assert "snapshot" not in {each.kind for each in notices}
    assert list(range(int(live_client.last_id.rpartition("-")[2]) + 1, numbers[-1] + 1)) == numbers


def test_messages_that_are_no_events_hold_up_nothing(watched: Shop, http_of: httpx.Client) -> None:
    """More than its sidecar has out at once, of any size and kind: the tap stays open and sees what comes after."""
    user_id = registered(http_of)
    with LiveClient(watched.monitor_url) as live_client:
        live_client.until_tap("on")
        for number in range(40):
            put(watched, "OrderCreateRequested", f"hello {number}".encode())
        for body in (b"", b"\xff", b"[]", b"null", b"[" * 20_000, b'{"id": 7, "traceid": 7, "data": {}}'):
            put(watched, "OrderCreateRequested", body)
        put_at_the_broker(watched, "OrderCreateRequested", b"x" * (6 * 1024 * 1024))
        first = ordered(http_of, user_id)
        live_client.until(lambda notices: is_over(first, notices), "the whole order")
        second = ordered(http_of, user_id)
        notices = live_client.until(lambda notices: is_over(second, notices), "the order after it")

    assert [] == [each.body for each in notices if each.kind == "tap" and each.body["state"] == "failed"]
    until_forgotten(watched)


def test_what_passes_while_the_sidecar_is_unreachable_is_seen_when_it_is_back(
    watched: Shop, http_of: httpx.Client
) -> None:
    """The broker knows the tap already, and keeps it for it."""
    user_id = registered(http_of)
    with LiveClient(watched.monitor_url) as live_client:
        live_client.until_tap("on")
        watched.kill(sidecar_of(NAME))
        live_client.until_tap("failed")
        order_id = ordered(http_of, user_id)
        watched.start_again(sidecar_of(NAME))
        notices = live_client.until(lambda notices: is_over(order_id, notices), "what passed meanwhile")

    assert UNPAID < set(steps(notices, order_id))


def test_one_that_is_killed_while_somebody_looks_leaves_nothing(watched: Shop, http_of: httpx.Client) -> None:
    """The next one forgets what it finds; and its ids are others, so a page is told to begin anew."""
    with LiveClient(watched.monitor_url) as live_client:
        live_client.until_tap("on")
        last_id = live_client.last_id
        watched.kill(NAME)
    watched.start_again(NAME)
    until_forgotten(watched)
    watched.deadline.until(lambda: is_alive(watched), SECONDS, lambda: "the live page is not back")
    with LiveClient(watched.monitor_url, last_id) as again:
        notices = again.until(lambda notices: bool(notices), "anything")

    assert "snapshot" == notices[0].kind


def test_a_page_of_somebody_else_gets_nothing(watched: Shop) -> None:
    """Neither the events nor a call."""
    netloc = urlsplit(watched.monitor_url).netloc
    answers = []
    for method, path, headers in (
        ("GET", "/live", {"host": "evil.example"}),
        ("POST", "/api/user/register", {"origin": "https://evil.example"}),
    ):
        connection = http.client.HTTPConnection(netloc, timeout=SECONDS)
        connection.request(method, path, headers=headers)
        answers.append(connection.getresponse().status)
        connection.close()

    assert [403, 403] == answers


def is_alive(shop: Shop) -> bool:
    """Whether the live page can be opened."""
    try:
        return httpx.get(f"{shop.monitor_url}/healthz", trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False
