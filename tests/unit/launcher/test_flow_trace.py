"""The history of one id: times, events in outboxes, and dead letters, in sequence."""

from __future__ import annotations

from typing import Any

import pytest

from sidecart.launcher.errors import LaunchError
from sidecart.launcher.flow_trace import trace_flow
from sidecart.launcher.record_keys import RecordKey
from sidecart.launcher.topics import GATEWAY
from tests.unit.launcher.test_dead_letters import FakeState

ID, OTHER = "019bc104-dd14-7cc5-8058-a566ee2e7ad6", "019bc104-dd14-7cc5-8058-a566ee2e7ad7"


KEYS = [RecordKey("order", "order:{id}"), RecordKey("billing", "payment:{id}"), RecordKey("billing", "account:{id}")]


@pytest.fixture
def state() -> FakeState:
    """The records of an id, with events about it and about another one."""
    fake = FakeState()
    event = {"type": "OrderPaid", "subject": ID, "correlationid": OTHER, "time": "", "data": {"order_id": ID}}
    other = event | {"subject": OTHER, "data": {"order_id": OTHER}, "type": "OrderNotPaid"}
    outbox = {"e": {"secondaries": {}, "outputs": [event, other], "time": "2026-01-15T09:30:02.000Z"}}
    order = {"order_id": ID, "status": "paid", "pay_before": "2026-01-15T09:45:00Z", "items": [{"sku": "tea"}]}
    fake.put("order", f"order:{ID}", {"state": order, "outbox": outbox})
    fake.put("billing", f"payment:{ID}", {"payment_id": OTHER, "charged_at": "2026-01-15T09:30:01.000Z"})
    commands = [{"id": OTHER, "topic": "OrderCreateRequested", "event": None, "outcome": "confirmed"}]
    fake.put(GATEWAY, f"pending:{ID}", {"changed_at": "2026-01-15T09:30:00.500Z", "commands": commands})
    letter = {"topic": "OrderPaid", "reason": "r", "time": "2026-01-15T09:30:03.000Z", "event": f'"{ID}"'}
    fake.put("notification", "dead-index:0", {"ids": ["d1", "d2"]})
    fake.put("notification", "dead:d1", letter)
    fake.put("notification", "dead:d2", letter | {"event": OTHER})
    return fake


def test_the_moments_are_in_the_sequence_of_time(state: FakeState) -> None:
    """Each says which app, what and from where; events about other ids of a record are left out."""
    found = trace_flow(state, KEYS, ID)

    assert [
        (GATEWAY, f"pending:{ID}: changed_at", "pending"),
        ("billing", f"payment:{ID}: charged_at", "record"),
        ("order", "published OrderPaid", "outbox"),
        ("notification", "could not process OrderPaid (open, d1)", "dead letter"),
        (GATEWAY, "made the id", "id"),  # of the example
    ] == [(each.app, each.what, each.source) for each in found.moments]


def test_a_time_that_has_not_come_and_a_limit_are_no_moments(state: FakeState) -> None:
    """They are among the fields of the record."""
    state.put("order", f"order:{ID}", {"sent_at": "9999-01-15T09:30:02Z", "pay_before": "2026-01-15T09:45:00Z"})

    found = trace_flow(state, KEYS, ID)

    assert [] == [each for each in found.moments if each.app == "order"]
    assert {"sent_at", "pay_before"} == set(next(each.fields for each in found.records if each.app == "order"))


@pytest.mark.parametrize(("id_", "moments"), [(ID, ["2026-01-15T09:38:00.084Z"]), (ID.replace("-7", "-4"), [])])
def test_an_id_of_version_7_has_its_time(state: FakeState, id_: str, moments: list[str]) -> None:
    """An id that no record has is unknown all the same."""
    state.put("billing", f"account:{id_}", {"balance": 1})

    assert moments == [each.at for each in trace_flow(state, KEYS[2:], id_).moments if each.source == "id"]
    assert [] == trace_flow(state, KEYS, ID.replace("0", "1")).moments


def test_plain_values_are_shown_and_nested_ones_are_not(state: FakeState) -> None:
    """A missing record is left out."""
    found = {each.key: each.fields for each in trace_flow(state, KEYS, ID).records}

    assert {f"order:{ID}", f"payment:{ID}", f"pending:{ID}"} == set(found)
    assert {"order_id", "status", "pay_before"} == set(found[f"order:{ID}"])
    assert "OrderCreateRequested confirmed" == found[f"pending:{ID}"]["commands"]


@pytest.mark.parametrize("id_", ["", "a||b", ID.upper(), f"{ID}\n", f"{ID}:1", "*"])
def test_a_malformed_id_is_an_error(state: FakeState, id_: str) -> None:
    """An id becomes part of a key."""
    with pytest.raises(LaunchError, match="an id is a UUID"):
        trace_flow(state, KEYS, id_)


def test_an_app_that_is_unreachable_hides_no_other(state: FakeState) -> None:
    """An operator looks for a flow just when something does not run."""
    load = state.load

    def fail(service: str, key: str) -> tuple[Any, str | None]:
        if service == "billing":
            raise LaunchError("the state of billing is unreachable")
        return load(service, key)

    state.load = fail  # type: ignore[method-assign]  # one app is down
    found = trace_flow(state, KEYS, ID)

    assert ["the state of billing is unreachable"] == found.problems
    assert {"order", GATEWAY} == {each.app for each in found.records}
    assert "notification" in {each.app for each in found.moments}
