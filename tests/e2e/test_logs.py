"""Tests of all logs while both flows run and errors happen: those of the apps are JSON with event
ids, and none has a name or an address of a user.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from sidecart.launcher.lifecycle.plan import MAIL_CATCHER
from sidecart.launcher.lifecycle.system import System
from sidecart.launcher.servers.registry import STORES
from sidecart.launcher.topics import app_ids
from sidecart.launcher.topology import sidecar_of
from sidecart.testkit.tap import Tap
from tests.e2e.conftest import options, store
from tests.e2e.injection import inject
from tests.e2e.shopper import TEA, TEA_CENTS, Shopper
from tests.e2e.test_bad_events import fresh, publish
from tests.e2e.test_mail_server import replaced_mail_server

pytestmark = [pytest.mark.own_shop, pytest.mark.sidecars]

NAME = "Zebedee Quillfeather"  # a name that is part of no word that may be logged


@pytest.fixture(scope="module")
def said() -> list[str]:
    """Return the lines that the launcher printed."""
    return []


@pytest.fixture(scope="module", params=["info", "debug"])
def logged_shop(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, said: list[str]
) -> Iterator[System]:
    """Start a shop whose apps log JSON, at each of two levels."""
    made = options(tmp_path_factory.mktemp("logged"))
    with System(replace(made, env={"LOG_FORMAT": "json", "LOG_LEVEL": request.param}), said.append) as running:
        yield running


@pytest.fixture(scope="module")
def logged_tap(logged_shop: System) -> Iterator[Tap]:
    """Return a tap, which records every event that passes the broker."""
    with Tap(logged_shop) as running:
        yield running


@pytest.fixture
def shopper(logged_shop: System, logged_tap: Tap) -> Iterator[Shopper]:
    """Return a client of the shop."""
    with Shopper(logged_shop, logged_tap) as client:
        yield client


def lines(shop: System) -> dict[str, list[dict[str, Any]]]:
    """Return the log lines of each app so far; fail on a line that is not a JSON object."""
    return {
        app_id: [dict(json.loads(line)) for line in (shop.logs / f"{app_id}.log").read_text().splitlines()]
        for app_id in app_ids()
    }


def lines_about(shop: System, event_id: str) -> list[dict[str, Any]]:
    """Return the log lines about one event."""
    return [line for written in lines(shop).values() for line in written if line.get("event_id") == event_id]


@pytest.mark.attack("injection", "make a log name an address", "masking of logs")
def test_no_log_line_names_a_user(shopper: Shopper, said: list[str], request: pytest.FixtureRequest) -> None:
    """Rejections that quote an address, malformed events with an address, a crash and a failed
    store leave no address and no token in a log of any process.
    """
    shop, address = shopper.shop, f"quill.{uuid.uuid4().hex}@example.com"
    user = shopper.register(NAME, address)
    shopper.deposit(user["user_id"], 3 * TEA_CENTS)
    taken = {"email": address, "name": NAME}
    assert 409 == shopper.http.post("/user/register", json=taken, headers=shopper.as_another(address)).status_code
    assert "OrderPaid" == shopper.final(shopper.order(user["user_id"]).json()["order_id"])
    shopper.wait_for_mails(address, 1)

    # Like most mail servers, the rejection quotes the recipient.
    for words in (f"550 5.1.1 <{address}> {NAME}: no such user", f"451 4.7.1 <{address}> {NAME}: come back later"):
        with replaced_mail_server(shop, ("--to-recipient", words)):
            order_id = shopper.order(user["user_id"]).json()["order_id"]
            wait_for_a_line(shopper, shopper.event("EmailRequested", order_id))

    bad = fresh("UserCreateRequested", email=address, name=[NAME]) | {"subject": NAME}
    worse = fresh(
        "OrderPaid", user_id=user["user_id"], order_id=str(uuid.uuid4()), items=[{**TEA, "sku": 7, "to": address}]
    )
    for event in (bad, worse):
        publish(shopper, event)
        wait_for_a_line(shopper, event, "dead letter from")

    crashed(shopper, f"crash.{address}")
    without_the_store(shopper, f"away.{address}")

    written = {path.name: path.read_text(errors="replace") for path in shop.logs.iterdir() if path.is_file()}
    written["the launcher"] = "\n".join(said)
    assert {f"{name}.log" for name in (*app_ids(), *map(sidecar_of, app_ids()), MAIL_CATCHER)} <= set(written)
    found = {
        (app_id, secret)
        for app_id, text in written.items()
        for secret in (address, address.split("@")[0], "Zebedee", "Quillfeather", "example.com", "eyJ")
        if secret in text
    }
    assert set() == found
    levels = {line["level"] for each in lines(shop).values() for line in each}
    assert request.node.callspec.params["logged_shop"] == "debug" or "debug" not in levels
    lines_of_event = lines_about(shop, bad["id"])
    assert {"UserCreateRequested"} == {line["topic"] for line in lines_of_event}
    # A slow store may have delayed the dead letter: then it was redelivered first.
    endings = [line["event"].split(":")[0] for line in lines_of_event]
    assert "dead letter from UserCreateRequested" == endings.pop()
    assert set(endings) <= {"UserCreateRequested will be redelivered"}


def crashed(shopper: Shopper, address: str) -> None:
    """Kill the User Service with a command in hand, and wait until the command is answered."""
    body = {"email": address, "name": NAME}
    answer = shopper.http.post("/user/register", json=body, headers={"prefer": "respond-async"})
    shopper.shop.kill("user")
    shopper.shop.starter.start_again("user")
    shopper.shop.wait_ready("user")
    shopper.event("UserCreated", answer.json()["user_id"])


def wait_for_a_line(shopper: Shopper, event: dict[str, Any], words: str = "") -> None:
    """Wait until a log line about an event that contains these words appears."""
    shopper.until(
        lambda: any(words in line["event"] for line in lines_about(shopper.shop, event["id"])),
        f"a line about {event['type']}",
    )


def without_the_store(shopper: Shopper, address: str) -> None:
    """Register while the store is unreachable, so that calls fail whose paths and keys contain the
    address.
    """
    shop, server = shopper.shop, STORES[store()]
    shop.state.processes.stop([server.names[0]], 40)
    try:
        answer = shopper.http.post(
            "/user/register", json={"email": address, "name": NAME}, headers={"prefer": "wait=2"}
        )
        assert answer.status_code in (202, 503)
        shopper.until(
            lambda: any("unreachable" in str(each) or "500" in str(each) for each in warnings(shop)), "a warning"
        )
    finally:
        shop.starter.start_again(server.names[0])


def warnings(shop: System) -> list[dict[str, Any]]:
    """Return all warnings and errors."""
    return [line for written in lines(shop).values() for line in written if line["level"] in ("warning", "error")]


def test_a_problem_and_its_log_lines_have_the_same_trace(shopper: Shopper) -> None:
    """The trace id in a problem leads to the log lines about the request."""
    shop = shopper.shop
    shop.sidecars.stop("gateway", seconds=1)
    try:
        answer = shopper.http.get(f"/order/{uuid.uuid4()}")
    finally:
        shop.sidecars.start("gateway")
    trace_id = answer.json()["trace_id"]

    assert 503 == answer.status_code
    assert [line["event"] for line in lines(shop)["gateway"] if line.get("trace_id") == trace_id]


@pytest.mark.attack("injection", "forge a record of a JSON log", "control characters in logs")
def test_no_text_forges_a_record(shopper: Shopper) -> None:
    """Every field of every request and event: each line is one record, none of them forged."""
    inject(shopper)

    for app_id, written in lines(shopper.shop).items():
        assert [] == [line for line in written if line["level"] == "critical" or line["event"] == "forged"], app_id
