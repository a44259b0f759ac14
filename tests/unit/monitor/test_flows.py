"""Flows group the example events of contracts/, in any order of arrival."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from sidecart.launcher.topics import read_topics
from sidecart.monitor import flow_index
from sidecart.monitor import flows as module
from sidecart.monitor.description import Description, Outcome
from sidecart.monitor.event import Event
from sidecart.monitor.flow import IN_PROGRESS, UNKNOWN, Call, Flow
from tests.unit.monitor.described import DESCRIPTION, SeenFlows

EXAMPLES = Path(__file__).parents[3] / "contracts" / "examples"
PAID = ("OrderCreateRequested", "OrderCreated", "OrderPaymentRequested", "OrderPaymentCreated", "OrderPaid")


def example(topic: str, name: str = "typical", **changed: Any) -> Event:
    """An example event as the tap receives it."""
    event = json.loads((EXAMPLES / topic / f"{name}.json").read_text())
    data = event["data"] | changed.pop("data", {})
    read = {
        "id": event["id"],
        "subject": event["subject"],
        "correlation_id": event["correlationid"],
        "time": event["time"],
    }
    return Event(topic=topic, data=data, **(read | changed))


def order_call(event: Event, status: int = 201) -> Call:
    """The request that created an order, with its response."""
    return Call(
        "/order/create",
        {"user_id": event.data["user_id"]},
        status,
        "CREATED",
        {"order_id": event.subject} if status < 400 else {"detail": "there is no user"},
        f"/order/{event.subject}" if status < 400 else "",
        0,
        5,
    )


def mail_for(event: Event) -> dict[str, Any]:
    """The mail that the mail server accepts for an EmailRequested event."""
    expected = ("message_id", "to", "subject")
    return {name: event.data[name] for name in expected} | {"taken_at": 1.5}


def names(flow: Flow) -> list[str]:
    """The names of a flow's steps."""
    return [step.name for step in flow.steps]


def test_an_order_is_one_flow_from_the_request_to_the_mail() -> None:
    """Publisher and consumers come from the topic list, the outcome from the last event."""
    flows, mail = SeenFlows(), example("EmailRequested")
    for topic in PAID:
        flows.add_event(example(topic), 0)
    flows.add_event(mail, 0)
    flows.add_request(order_call(example("OrderCreated")))
    flows.add_mail(mail_for(mail))

    [flow] = flows.all()
    assert ("order", "paid") == (flow.kind, flow.outcome)
    assert [*PAID, "EmailRequested", "POST /order/create", "201 CREATED", mail.data["message_id"]] == names(flow)
    created = flow.steps[1]
    assert ("order", ("gateway", "notification")) == (created.source, created.targets)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_response_command_and_reply_meet_in_any_order(order: tuple[int, ...]) -> None:
    """The response and the events arrive independently."""
    flows = SeenFlows()
    additions = [
        lambda: flows.add_event(example("OrderCreateRequested"), 0),
        lambda: flows.add_event(example("OrderCreated"), 0),
        lambda: flows.add_request(order_call(example("OrderCreated"))),
    ]
    for place in order:
        additions[place]()

    [flow] = flows.all()
    assert {"OrderCreateRequested", "OrderCreated", "POST /order/create", "201 CREATED"} == set(names(flow))


def test_an_early_mail_waits_for_its_event() -> None:
    """Mails and events arrive independently."""
    flows, email_requested = SeenFlows(), example("EmailRequested")

    assert [] == flows.add_mail(mail_for(email_requested))
    changes = flows.add_event(email_requested, 0)

    assert ["event", "mail"] == [change.step.kind for change in changes]
    assert 1500 == changes[1].step.at


def test_a_repeated_event_is_one_step_with_a_counter() -> None:
    """Delivery is at least once, and replays repeat an event, too."""
    flows = SeenFlows()
    flows.add_event(example("OrderCreated"), 0)
    [again] = flows.add_event(example("OrderCreated"), 0)

    assert (1, 2) == (len(flows.all()[0].steps), again.step.times)


def test_a_rejected_request_is_a_flow_of_its_own() -> None:
    """No event follows a rejected request."""
    flows = SeenFlows()
    flows.add_request(order_call(example("OrderCreated"), 404))

    [flow] = flows.all()
    assert ("rejected: 404", "there is no user") == (flow.outcome, flow.steps[1].note)


def test_titles_contain_the_users_name() -> None:
    """The name comes from the registration's event."""
    flows = SeenFlows()
    flows.add_event(example("UserCreated"), 0)
    flows.add_event(example("AccountDepositRequested", data={"user_id": example("UserCreated").subject}), 0)

    assert ["UserCreated, earlier events not seen", "Ada Lovelace deposits money"] == [
        flow.title for flow in flows.all()
    ]
    assert ["Ada Lovelace"] == [each.label for each in flows.resources.all() if each.kind == "user_id"]


def test_a_flow_without_its_command_is_not_in_progress() -> None:
    """A replayed event is seen alone; its flow may have ended, and its time is when it was seen."""
    flows = SeenFlows()
    flows.add_event(example("EmailRequested"), 7_000)
    assert [(UNKNOWN, 7_000)] == [(flow.outcome, flow.began_at) for flow in flows.all()]

    flows = SeenFlows()
    flows.add_event(example("OrderPaymentRequested"), 0)
    flows.add_event(example("OrderCreateRequested"), 0)
    assert [IN_PROGRESS] == [flow.outcome for flow in flows.all()]


def test_a_dead_letter_marks_the_step_of_its_event() -> None:
    """Only changed flows are returned, without their steps; a settled dead letter marks nothing."""
    flows = SeenFlows()
    created, paid = example("OrderCreated"), example("OrderPaid")
    for event in (created, paid):
        flows.add_event(event, 0)
    other = example("UserCreated")
    flows.add_event(other, 0)

    changed = flows.mark_dead_letters([paid.id, "unknown"])
    assert [(1, [2], [])] == [(flow.number, flow.dead_steps, flow.steps) for flow in changed]
    assert [] == flows.mark_dead_letters([paid.id])
    assert [1, 2] == [flow.number for flow in flows.mark_dead_letters([other.id])]
    assert [[], [1]] == [flow.dead_steps for flow in flows.all()]


def test_a_late_command_names_its_flow() -> None:
    """Topics are read independently, so the reply may arrive before the command."""
    flows = SeenFlows()
    flows.add_event(example("UserCreated"), 0)
    flows.add_event(example("UserCreateRequested"), 0)

    assert [("registration", "Ada Lovelace registers")] == [(flow.kind, flow.title) for flow in flows.all()]


def test_the_oldest_flow_is_evicted_with_its_index_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only keys of the remaining flows stay in the indexes."""
    monkeypatch.setattr(module, "FLOWS_MAX", 2)
    flows, mail = SeenFlows(), example("EmailRequested")
    flows.add_event(mail, 0)
    for number in range(3):
        flows.add_event(example("OrderCreated", id=f"e{number}", correlation_id=f"c{number}", subject=f"s{number}"), 0)

    assert ["s1", "s2"] == [flow.subject for flow in flows.all()]
    assert [] == flows.add_mail(mail_for(mail))
    indexes = (flows.index.by_key, flows.index.events, flows.index.by_message_id)
    assert [{"c1", "c2", "s1", "s2"}, {"e1", "e2"}, set()] == [set(each) for each in indexes]


def test_a_late_event_of_an_evicted_flow_starts_no_new_flow(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a busy shop a late event would otherwise evict a newer flow."""
    monkeypatch.setattr(module, "FLOWS_MAX", 1)
    monkeypatch.setattr(flow_index, "EVICTED_MAX", 4)
    flows, late = SeenFlows(), example("OrderPaid")
    flows.add_event(example("OrderCreated"), 0)
    for number in range(2):
        flows.add_event(example("OrderCreated", id=f"e{number}", correlation_id=f"c{number}", subject=f"s{number}"), 0)

    assert [] == flows.add_event(late, 0)
    assert ["s1"] == [flow.subject for flow in flows.all()]
    flows.add_event(example("OrderCreated", id="e2", correlation_id="c2", subject="s2"), 0)
    assert 1 == len(flows.add_event(late, 0)), "the keys of evicted flows are bounded"


def test_an_endless_flow_keeps_its_newest_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client may repeat one request forever."""
    monkeypatch.setattr(module, "STEPS_MAX", 3)
    flows = SeenFlows()
    for number in range(5):
        flows.add_event(example("OrderCreated", id=f"e{number}"), 0)

    assert [3, 4, 5] == [step.number for step in flows.all()[0].steps]
    assert {"e2", "e3", "e4"} == set(flows.index.events)


@pytest.mark.parametrize("topic", read_topics())
def test_an_empty_event_is_shown(topic: str) -> None:
    """Services validate events; the page shows every published event."""
    flows = SeenFlows()
    flows.add_event(Event(topic, "", "", "", "no time"), 7)

    [flow] = flows.all()
    assert [(topic, 7)] == [(step.name, step.at) for step in flow.steps]


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*/*.json")), ids=lambda path: "/".join(path.parts[-2:]))
def test_every_example_has_a_short_summary(path: Path) -> None:
    """The summary fits one line, and no field is missing."""
    [change] = SeenFlows().add_event(example(path.parent.name, path.stem), 0)

    assert 0 < len(change.step.note) <= 200
    assert "?" not in change.step.note


def test_the_keys_of_one_flow_are_bounded() -> None:
    """A publisher may send unlimited events with one correlation id."""
    flows = SeenFlows()
    first = example("EmailRequested")
    for number in range(1_000):
        output = {"message_id": f"<{number}>" + "x" * 1_000}
        flows.add_event(example("EmailRequested", id=str(number), subject=str(number), data=output), 0)

    assert 1 == len(flows.all())
    assert flow_index.KEYS_MAX >= len(flows.index.by_key)
    assert flow_index.KEYS_MAX >= len(flows.index.by_message_id)
    assert first.correlation_id in flows.index.by_key


@pytest.mark.parametrize(("end", "name"), [("OrderPaid", "typical"), ("OrderNotPaid", "insufficient_funds")])
def test_an_early_final_event_decides_the_outcome(end: str, name: str) -> None:
    """Topics arrive independently, so the last event may arrive first."""
    flows = SeenFlows()
    created = example("OrderCreated")
    for event in (example(end, name, subject=created.subject, correlation_id=created.correlation_id), created):
        flows.add_event(event, 0)

    assert [DESCRIPTION.events[end].outcome] == [Outcome(text=flow.outcome, tone=flow.tone) for flow in flows.all()]


def test_flows_need_no_description() -> None:
    """Without one, a command of the gateway begins a flow, and its reply decides the outcome."""
    flows = SeenFlows(Description())
    flows.add_request(order_call(example("OrderCreated")))
    for topic in ("OrderCreateRequested", "OrderCreated", "OrderPaymentRequested"):
        flows.add_event(example(topic), 0)

    [flow] = flows.all()
    assert ("order create", "OrderCreateRequested", "order created") == (flow.kind, flow.title, flow.outcome)
    assert ["POST /order/create", "201 CREATED"] == names(flow)[:2]


def test_a_rejection_is_bad_without_a_description() -> None:
    """The last word of the topic decides the tone of the step and of the flow."""
    flows = SeenFlows(Description())
    [change] = flows.add_event(example("UserCreateRejected", "email_taken"), 0)

    assert ("bad", "bad", "user create rejected") == (change.step.tone, change.flow.tone, change.flow.outcome)


def test_the_ids_of_panels_stay_with_their_flow() -> None:
    """The page reads the values of these resources again."""
    flows = SeenFlows()
    [change] = flows.add_event(example("OrderPaymentCreated"), 0)

    assert {"user_id": example("OrderPaymentCreated").data["user_id"]} == change.flow.ids
