"""Tests of the operator's view: groups of dead letters, runs on a group, the audit trail, flows by
id, and lag, by the command line and by the page.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import psutil
import pytest

from sidecart.cli import running as cli_running
from sidecart.cli.__main__ import main
from sidecart.cli.status_progress import UNTOLD, progress
from sidecart.edge.callers import OPERATOR
from sidecart.issuer import keys, tokens
from sidecart.launcher.dead_letter_groups import Group, group_dead_letters
from sidecart.launcher.lifecycle.system import System
from sidecart.launcher.running_state import RunningState
from sidecart.launcher.servers.registry import BROKERS
from sidecart.launcher.servers.valkey import ENV
from sidecart.launcher.topics import subscriptions
from sidecart.launcher.topology import sidecar_of
from sidecart.monitor.page_tokens import ADDRESS
from tests.e2e.conftest import broker, options
from tests.e2e.live_client import admitted
from tests.e2e.shopper import SECONDS, new_address
from tests.e2e.test_dead_letters import event
from tests.e2e.test_monitor import ordered, registered
from tests.e2e.test_page_tokens import send

pytestmark = [pytest.mark.own_shop, pytest.mark.sidecars]

MALFORMED = 30
BOSS = "boss@example.com"
OPERATOR_PATHS = ("me", "dead-letters", "audit-trail", f"flows/{uuid.uuid4()}", "lag")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Start a shop with its live page."""
    made = options(tmp_path_factory.mktemp("operator"))
    with System(replace(made, monitor=True), print) as running:
        yield running


@pytest.fixture
def state(shop: System) -> RunningState:
    """Return the access to the state of the shop."""
    return RunningState(shop.ports, shop.tokens)


@pytest.fixture
def command_line(monkeypatch: pytest.MonkeyPatch, state: RunningState) -> None:
    """Let the commands use this shop."""
    monkeypatch.setattr(cli_running, "running", lambda: state)


def publish(shop: System, publisher: str, topic: str, data: dict[str, Any]) -> str:
    """Publish an event through the sidecar of its publisher; return its id."""
    made = event(topic, data)
    httpx.post(
        f"http://127.0.0.1:{shop.sidecars.port(publisher)}/v1.0/publish/pubsub/{topic}",
        content=json.dumps(made),
        headers={"dapr-api-token": shop.tokens[sidecar_of(publisher)], "content-type": "application/cloudevents+json"},
        trust_env=False,
    ).raise_for_status()
    return str(made["id"])


def group_of(shop: System, state: RunningState, topic: str, count: int) -> Group:
    """Wait until a group of this topic has so many open dead letters; return it."""

    def found() -> list[Group]:
        return [each for each in group_dead_letters(state).groups if (each.topic, each.open) == (topic, count)]

    shop.deadline.until(lambda: bool(found()), SECONDS, lambda: f"no group: {group_dead_letters(state)}")
    return found()[0]


def operator_of(shop: System) -> dict[str, str]:
    """Return the header of an operator of the local issuer."""
    return {"authorization": f"Bearer {tokens.token(keys.load(shop.issuer_folder), BOSS, roles=(OPERATOR,))}"}


def entries(shop: System) -> list[dict[str, Any]]:
    """Return the newest part of the audit trail, as the page shows it."""
    with admitted(shop.monitor_url) as client:
        answer = client.get("/operator/audit-trail")
    assert 200 == answer.status_code, answer.text
    return list(answer.json()["entries"])


@pytest.mark.usefixtures("command_line")
def test_the_command_line_acts_on_one_group(
    shop: System, state: RunningState, capsys: pytest.CaptureFixture[str]
) -> None:
    """Events of one cause are one group, whatever values they have; discarding it leaves the other
    group, and the audit trail has one entry.
    """
    for number in range(MALFORMED):
        publish(shop, "gateway", "OrderCreateRequested", {"order_id": "none", "number": number})
        publish(shop, "billing", "OrderPaymentCreated", {"order_id": str(uuid.uuid4())})
    group = group_of(shop, state, "OrderCreateRequested", MALFORMED)
    other = group_of(shop, state, "OrderPaymentCreated", MALFORMED)

    assert 0 == main(["dead-letters", "groups"])
    listed = capsys.readouterr().out
    assert 0 == main(["dead-letters", "discard", "--group", group.id])
    discarded = capsys.readouterr().out
    assert 0 == main(["audit-trail", "--limit", "1", "--json"])
    [entry] = map(json.loads, capsys.readouterr().out.splitlines())

    assert {group.id, other.id} <= {line.split()[0] for line in listed.splitlines()}
    assert f"{MALFORMED} discarded\n" == discarded
    assert ("discard", f"group {group.id}", "cli", "completed", {"discarded": MALFORMED}) == tuple(
        entry[name] for name in ("action", "target", "via", "outcome", "results")
    )
    assert [other.id] == [each.id for each in group_dead_letters(state).groups if each.open]


def run_of(shop: System, group: Group, action: str, headers: dict[str, str]) -> dict[str, Any]:
    """Act on a group by the page, and wait for the end; return the entry of the audit trail."""
    before = len(entries(shop))
    assert 200 == send(shop, f"/operator/groups/{group.id}/{action}", **headers).status_code

    def is_completed() -> bool:
        found = entries(shop)
        return len(found) > before and "completed" == found[0]["outcome"]

    shop.deadline.until(is_completed, SECONDS, lambda: str(entries(shop)[:1]))
    return entries(shop)[0]


def test_the_page_replays_a_group_in_the_name_of_the_operator(shop: System, state: RunningState) -> None:
    """The events pass again and fail again; the trail names the operator of the token, and the page
    itself for a request without one.
    """
    for _ in range(MALFORMED):
        publish(shop, "order", "OrderPaid", {"order_id": "none"})
    group = group_of(shop, state, "OrderPaid", MALFORMED)

    replayed = run_of(shop, group, "replay", operator_of(shop))
    again = group_of(shop, state, "OrderPaid", MALFORMED)
    discarded = run_of(shop, again, "discard", {})

    assert ("replay", BOSS, "page", MALFORMED) == tuple(replayed[name] for name in ("action", "who", "via", "count"))
    assert {"failed again": MALFORMED} == replayed["results"]
    assert group.id == again.id
    assert ("discard", ADDRESS, {"discarded": MALFORMED}) == tuple(
        discarded[name] for name in ("action", "who", "results")
    )


def test_an_erasure_by_an_operator_is_in_the_trail_without_the_address(shop: System) -> None:
    """The person's own erasure is not in the trail, because no operator acted."""
    addresses = [new_address(), new_address()]
    auths = [
        {"authorization": f"Bearer {tokens.token(keys.load(shop.issuer_folder), address)}"} for address in addresses
    ]
    users = []
    with httpx.Client(base_url=shop.url, timeout=SECONDS, trust_env=False) as client:
        for address, auth in zip(addresses, auths, strict=True):
            answer = client.post("/user/register", json={"email": address, "name": "Ann"}, headers=auth)
            assert 201 == answer.status_code, answer.text
            users.append(answer.json()["user_id"])
        before = len(entries(shop))
        assert 200 == client.delete(f"/user/{users[0]}", headers=operator_of(shop)).status_code
        assert 200 == client.delete(f"/user/{users[1]}", headers=auths[1]).status_code
    found = entries(shop)

    assert before + 1 == len(found)
    assert ("erase", BOSS, "gateway", f"user_id {users[0]}", "completed") == tuple(
        found[0][name] for name in ("action", "who", "via", "target", "outcome")
    )
    assert not [address for address in addresses if address in json.dumps(found)]


@pytest.mark.usefixtures("command_line")
def test_a_flow_is_found_by_its_id(shop: System, capsys: pytest.CaptureFixture[str]) -> None:
    """No viewer has seen the flow: what is known comes from the records of the services."""
    from shop.acting import acting

    with httpx.Client(base_url=shop.url, timeout=SECONDS, trust_env=False, auth=acting(shop.issuer_folder)) as client:
        order_id = ordered(client, registered(client))
        shop.deadline.until(
            lambda: "not_paid" == client.get(f"/order/{order_id}").json().get("status"), SECONDS, lambda: "no outcome"
        )
    with admitted(shop.monitor_url) as page:
        answer = page.get(f"/operator/flows/{order_id}").json()
        malformed = page.get("/operator/flows/a||b")
    assert 0 == main(["flow", order_id])
    printed = capsys.readouterr().out

    assert "published OrderNotPaid" in {each["what"] for each in answer["trace"]["moments"]}
    assert {"order", "notification", "billing"} <= {each["app"] for each in answer["trace"]["records"]}
    assert "OrderNotPaid" in printed
    assert 409 == malformed.status_code


@pytest.mark.parametrize("path", OPERATOR_PATHS)
def test_each_part_needs_the_role(shop: System, path: str) -> None:
    """The token of a user is refused, also with the key of the page; no key at all is refused."""
    user = {"authorization": f"Bearer {tokens.token(keys.load(shop.issuer_folder), 'ann@example.com')}"}
    with admitted(shop.monitor_url) as client:
        assert 403 == client.get(f"/operator/{path}", headers=user).status_code
        assert 200 == client.get(f"/operator/{path}", headers=operator_of(shop)).status_code
    without_key = httpx.get(f"{shop.monitor_url.partition('?')[0]}operator/{path}", trust_env=False)
    assert 403 == without_key.status_code


def test_the_events_of_an_app_that_is_stopped_wait(shop: System) -> None:
    """On Redis, status and the page count them, though the sidecar has them; RabbitMQ does not
    tell.
    """
    app = psutil.Process(shop.processes["billing"])
    stopped = [app, *app.children(recursive=True)]

    def lines() -> list[str]:
        return list(progress(shop.state.described()).lines())

    for each in stopped:
        each.suspend()
    try:
        publish(shop, "order", "OrderPaymentRequested", {"order_id": "none"})
        if broker() == "redis":
            waits = "  billing on OrderPaymentRequested: 1, 1 of them delivered and not acknowledged, the oldest for "
            shop.deadline.until(lambda: any(each.startswith(waits) for each in lines()), SECONDS, lambda: str(lines()))
            assert 1 == sum(BROKERS["redis"].waiting(shop.state.addresses[ENV], subscriptions("gateway-0")).values())
        else:
            assert lines()[0].endswith(UNTOLD)
    finally:
        for each in stopped:
            each.resume()
    shop.deadline.until(lambda: lines()[0].startswith("events that wait: 0, "), SECONDS, lambda: str(lines()))


def test_the_lag_of_each_consumer_is_read(shop: System) -> None:
    """A service that does not run falls behind; its waiting events have an age on Redis."""
    shop.kill("billing")
    shop.kill(sidecar_of("billing"))
    publish(shop, "order", "OrderPaymentRequested", {"order_id": "none"})

    def waiting() -> dict[str, Any]:
        with admitted(shop.monitor_url) as client:
            found = client.get("/operator/lag").json()
        assert [] == [each for each in found["problems"] if "broker" in each]
        [one] = [each for each in found["consumers"] if each["topic"] == "OrderPaymentRequested"]
        return dict(one)

    shop.deadline.until(
        lambda: waiting()["waiting"] + (waiting()["unacknowledged"] or 0) > 0, SECONDS, lambda: str(waiting()), 1.0
    )
