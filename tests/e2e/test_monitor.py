"""Tests of the live page's events on a real broker: viewers see all events, and without viewers
nothing remains.
"""

from __future__ import annotations

import http.client
import json
import uuid
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import urlsplit

import httpx
import pytest

from gateway.app import SHOP
from shop.acting import acting
from sidecart.doctor import running
from sidecart.launcher.lifecycle.system import System
from sidecart.launcher.monitor import NAME
from sidecart.launcher.topics import app_ids, subscriptions
from sidecart.launcher.topology import sidecar_of
from sidecart.testkit.contents import backlog
from tests.e2e.conftest import options
from tests.e2e.live_client import LiveClient, Notice, admitted, steps
from tests.e2e.shopper import SECONDS, TEA, new_address
from tests.e2e.test_unparseable import put, put_at_the_broker

pytestmark = [pytest.mark.own_shop, pytest.mark.sidecars]

GRACE_SECONDS = 10
"""An order has to complete within it, on a machine with other load."""
UNPAID = {
    "OrderCreateRequested",
    "OrderCreated",
    "OrderPaymentRequested",
    "OrderPaymentFailed",
    "OrderNotPaid",
    "EmailRequested",
}


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Start a shop with a live page that has no viewer yet."""
    made = options(tmp_path_factory.mktemp("watched"))
    with System(replace(made, monitor=True, env={"GRACE_SECONDS": str(GRACE_SECONDS)}), print) as running:
        yield running


@pytest.fixture
def http_of(watched: System) -> Iterator[httpx.Client]:
    """Return a client of the gateway, independent of the page."""
    with httpx.Client(
        base_url=watched.url, timeout=SECONDS, trust_env=False, auth=acting(watched.issuer_folder)
    ) as client:
        yield client


def registered(http: httpx.Client) -> str:
    """Register a user; return the id."""
    answer = http.post("/user/register", json={"email": new_address(), "name": "Ann"})
    assert 201 == answer.status_code, answer.text
    return str(answer.json()["user_id"])


def ordered(http: httpx.Client, user_id: str) -> str:
    """Place an order that cannot be paid; return its id."""
    answer = http.post("/order/create", json={"user_id": user_id, "items": [TEA]})
    assert 201 == answer.status_code, answer.text
    return str(answer.json()["order_id"])


def is_mailed(http: httpx.Client, user_id: str, order_id: str) -> bool:
    """Return whether the mail server has accepted the mail of an order."""
    mailbox = http.get(f"/notification/{user_id}").json().get("notifications", [])
    return any(each["order_id"] == order_id and each["sent_at"] for each in mailbox)


def is_over(order_id: str, notices: list[Notice]) -> bool:
    """Return whether all steps of an order were shown, including its mail."""
    return len(steps(notices, order_id)) == len(UNPAID) + 1


def until_forgotten(shop: System) -> None:
    """Wait until the broker has neither a group nor a queue for the live page."""
    shop.deadline.until(
        lambda: NAME not in {each.consumer for each in backlog(shop)},
        SECONDS,
        lambda: "the broker still keeps something for the live page",
        step_seconds=0.5,
    )


def test_the_doctor_compares_each_sidecar_with_its_own_folders(watched: System) -> None:
    """The page's sidecar needs neither store nor policy; a sidecar that lacks its configured store
    is reported.
    """
    notices = watched.state.described()
    sidecars = {f"{name} http://127.0.0.1:{watched.ports[name]}" for name in watched.state.resources}
    found = [one for one in running.system(notices) if one.place.file in sidecars]
    notices.resources[sidecar_of(NAME)] = notices.resources[sidecar_of("order")]
    missed = [(one.rule, one.what) for one in running.system(notices) if one.place.file in sidecars]

    assert sidecar_of(NAME) in watched.state.resources
    assert [] == found
    assert [("component-not-loaded", True)] == [(rule, "statestore" in what) for rule, what in missed]


def test_the_page_derives_from_the_topology(watched: System) -> None:
    """Its lifelines are the apps of dapr.yaml, its forms the calls of the running gateway."""
    with admitted(watched.monitor_url) as client:
        page = client.get("/page").json()

    assert set(app_ids()) < {each["key"] for each in page["lifelines"]}
    assert [command.path for command in SHOP.commands] == [each["path"] for each in page["forms"]]
    assert [query.path for query in SHOP.queries if query.parameters] == [each["path"] for each in page["queries"]]
    assert "" == page["problem"]


def test_only_events_during_a_view_are_seen_and_nothing_is_left(watched: System, http_of: httpx.Client) -> None:
    """Earlier events are not replayed; after the last viewer leaves, only the shop's own groups and
    queues remain.
    """
    user_id = registered(http_of)
    before = ordered(http_of, user_id)
    watched.deadline.until(lambda: is_mailed(http_of, user_id, before), SECONDS, lambda: "the order has no mail")
    with LiveClient(watched.monitor_url) as live_client:
        live_client.until_tap("on")
        order_id = ordered(http_of, user_id)
        notices = live_client.until(lambda notices: is_over(order_id, notices), "the whole order")
    until_forgotten(watched)

    assert UNPAID < set(steps(notices, order_id))
    assert [] == steps(notices, before)
    assert [] == watched.broker.missing(watched.broker_address, subscriptions("gateway-0"))


def test_a_returning_viewer_has_missed_nothing(watched: System, http_of: httpx.Client) -> None:
    """The tap outlives the last viewer for a while, and the ids continue without a gap."""
    user_id = registered(http_of)
    with LiveClient(watched.monitor_url) as live_client:
        live_client.until_tap("on")
    order_id = ordered(http_of, user_id)
    with LiveClient(watched.monitor_url, live_client.last_id) as again:
        notices = again.until(lambda notices: is_over(order_id, notices), "what was missed")

    numbers = [int(each.id.rpartition("-")[2]) for each in notices]
    assert "snapshot" not in {each.kind for each in notices}
    assert list(range(int(live_client.last_id.rpartition("-")[2]) + 1, numbers[-1] + 1)) == numbers


def snapshot(shop: System) -> str:
    """Return all that a new viewer receives at first."""
    with LiveClient(shop.monitor_url) as viewer:
        [first, *_] = viewer.until(bool, "a snapshot")
    assert "snapshot" == first.kind
    return json.dumps(first.body)


def test_the_page_forgets_an_erased_user(watched: System, http_of: httpx.Client) -> None:
    """One browser stays open all the time; the next one sees neither the address nor the name."""
    email, name = new_address(), f"Name {uuid.uuid4().hex}"
    with LiveClient(watched.monitor_url) as live_client:
        live_client.until_tap("on")
        answer = http_of.post("/user/register", json={"email": email, "name": name})
        assert 201 == answer.status_code, answer.text
        user_id = str(answer.json()["user_id"])
        order_id = ordered(http_of, user_id)
        live_client.until(lambda notices: is_over(order_id, notices), "the whole order")
        before = snapshot(watched)

        assert 200 == http_of.delete(f"/user/{user_id}").status_code
        watched.deadline.until(
            lambda: [each for each in (email, name) if each in snapshot(watched)] == [],
            SECONDS,
            lambda: "the page still shows the erased user",
            step_seconds=0.5,
        )

    assert [3, 3] == [min(3, before.count(each)) for each in (email, name)]


def test_non_events_do_not_stop_the_tap(watched: System, http_of: httpx.Client) -> None:
    """After many messages of any size and kind, more than the sidecar's limit, the tap still sees
    later events.
    """
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


def test_events_during_an_outage_of_the_sidecar_are_seen_later(watched: System, http_of: httpx.Client) -> None:
    """The broker knows the tap already, and keeps the events for it."""
    user_id = registered(http_of)
    with LiveClient(watched.monitor_url) as live_client:
        live_client.until_tap("on")
        watched.kill(sidecar_of(NAME))
        live_client.until_tap("failed")
        order_id = ordered(http_of, user_id)
        watched.starter.start_again(sidecar_of(NAME))
        notices = live_client.until(lambda notices: is_over(order_id, notices), "what passed meanwhile")

    assert UNPAID < set(steps(notices, order_id))


def test_a_killed_monitor_leaves_nothing(watched: System, http_of: httpx.Client) -> None:
    """The next monitor removes the leftovers, and its new ids make a page load a new snapshot."""
    with LiveClient(watched.monitor_url) as live_client:
        live_client.until_tap("on")
        last_id = live_client.last_id
        watched.kill(NAME)
    watched.starter.start_again(NAME)
    until_forgotten(watched)
    watched.deadline.until(lambda: is_alive(watched), SECONDS, lambda: "the live page is not back")
    with LiveClient(watched.monitor_url, last_id) as again:
        notices = again.until(lambda notices: bool(notices), "anything")

    assert "snapshot" == notices[0].kind


@pytest.mark.attack("browser", "call the live page from a foreign page", "host and origin of the live page")
def test_a_foreign_page_is_rejected(watched: System) -> None:
    """The monitor answers 403 to a foreign host and to a foreign origin."""
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


@pytest.mark.attack("browser", "open the live page without its key", "key of the live page")
@pytest.mark.parametrize("path", ["/", "/live", "/page", "/static/main.js", "/api/user/1"])
def test_without_the_key_the_page_shows_nothing(watched: System, path: str) -> None:
    """Another user of this machine can connect to the port."""
    url = watched.state.local_url(NAME)
    answers = [
        httpx.get(f"{url}{path}", params=params, headers=headers, trust_env=False)
        for params in ({}, {"key": "guess"})
        for headers in ({}, {"cookie": f"sidecart-page-{watched.ports[NAME]}=guess"})
    ]

    assert [403] * 4 == [answer.status_code for answer in answers]


def is_alive(shop: System) -> bool:
    """Return whether the live page answers."""
    try:
        return httpx.get(f"{shop.state.local_url(NAME)}/healthz", trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False
