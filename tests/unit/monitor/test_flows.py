"""What belongs together, by the events of the contracts' own examples, whatever the order in which they are seen."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from cli.topics import TOPICS
from monitor import flows as module
from monitor.event import Event
from monitor.flows import Call, Flow, Flows

EXAMPLES = Path(__file__).parents[3] / "contracts" / "examples"
PAID = ("OrderCreateRequested", "OrderCreated", "OrderPaymentRequested", "OrderPaymentCreated", "OrderPaid")


def example(topic: str, name: str = "typical", **changed: Any) -> Event:
    """An event as the tap would see it."""
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
    """The request that began an order, as its answer has just come back."""
    return Call(
        "/order/create",
        {"user_id": event.data["user_id"]},
        status,
        "CREATED",
        {"order_id": event.subject} if status < 400 else {"detail": "there is no user"},
        0,
        5,
    )


def mail_for(event: Event) -> dict[str, Any]:
    """The mail that the mail server takes for it."""
    expected = ("message_id", "to", "subject")
    return {name: event.data[name] for name in expected} | {"taken_at": 1.5}


def names(flow: Flow) -> list[str]:
    """What is seen of a flow."""
    return [step.name for step in flow.steps]


def test_an_order_is_one_flow_from_the_request_to_the_mail() -> None:
    """Whoever publishes and consumes is the topic list's; the outcome is the last news."""
    flows, mail = Flows(), example("EmailRequested")
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
def test_answer_command_and_reply_meet_in_any_order(order: tuple[int, ...]) -> None:
    """The answer may be here before the event that it answers, for they come by different ways."""
    flows = Flows()
    notified = [
        lambda: flows.add_event(example("OrderCreateRequested"), 0),
        lambda: flows.add_event(example("OrderCreated"), 0),
        lambda: flows.add_request(order_call(example("OrderCreated"))),
    ]
    for place in order:
        notified[place]()

    [flow] = flows.all()
    assert {"OrderCreateRequested", "OrderCreated", "POST /order/create", "201 CREATED"} == set(names(flow))


def test_a_mail_that_is_faster_than_its_event_waits_for_it() -> None:
    """Mail server and broker are two ways."""
    flows, asked = Flows(), example("EmailRequested")

    assert [] == flows.add_mail(mail_for(asked))
    changes = flows.add_event(asked, 0)

    assert ["event", "mail"] == [change.step.kind for change in changes]
    assert 1500 == changes[1].step.at


def test_an_event_that_passes_twice_is_one_arrow_that_says_so() -> None:
    """Delivery is at least once; a replayed dead letter passes again, too."""
    flows = Flows()
    flows.add_event(example("OrderCreated"), 0)
    [again] = flows.add_event(example("OrderCreated"), 0)

    assert (1, 2) == (len(flows.all()[0].steps), again.step.times)


def test_a_request_that_is_refused_is_a_flow_of_its_own() -> None:
    """No event tells of it."""
    flows = Flows()
    flows.add_request(order_call(example("OrderCreated"), 404))

    [flow] = flows.all()
    assert ("refused: 404", "there is no user") == (flow.outcome, flow.steps[1].note)


def test_people_are_known_by_name_in_what_they_do() -> None:
    """A registration tells the name; the deposit after it has it in its title."""
    flows = Flows()
    flows.add_event(example("UserCreated"), 0)
    flows.add_event(example("AccountDepositRequested", data={"user_id": example("UserCreated").subject}), 0)

    assert ["UserCreated, its beginning not seen", "Ada Lovelace pays in"] == [flow.title for flow in flows.all()]
    assert ["Ada Lovelace"] == [person.name for person in flows.people.values()]


def test_what_was_seen_before_its_command_gets_its_name_from_it() -> None:
    """Topics are read side by side."""
    flows = Flows()
    flows.add_event(example("UserCreated"), 0)
    flows.add_event(example("UserCreateRequested"), 0)

    assert [("registration", "Ada Lovelace registers")] == [(flow.kind, flow.title) for flow in flows.all()]


def test_the_oldest_flow_makes_room_with_all_that_was_known_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred are kept, and nothing of the others."""
    monkeypatch.setattr(module, "FLOWS_MAX", 2)
    flows, mail = Flows(), example("EmailRequested")
    flows.add_event(mail, 0)
    for number in range(3):
        flows.add_event(example("OrderCreated", id=f"e{number}", correlation_id=f"c{number}", subject=f"s{number}"), 0)

    assert ["s1", "s2"] == [flow.subject for flow in flows.all()]
    assert [] == flows.add_mail(mail_for(mail))
    kept = (flows._by_key, flows._events, flows._flow_by_message_id)
    assert [{"c1", "c2", "s1", "s2"}, {"e1", "e2"}, set()] == [set(each) for each in kept]


def test_what_comes_late_of_a_flow_that_made_room_begins_no_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a busy shop its mail is asked for when a hundred newer orders are there; of them it would take the place."""
    monkeypatch.setattr(module, "FLOWS_MAX", 1)
    monkeypatch.setattr(module, "EVICTED_MAX", 4)
    flows, late = Flows(), example("OrderPaid")
    flows.add_event(example("OrderCreated"), 0)
    for number in range(2):
        flows.add_event(example("OrderCreated", id=f"e{number}", correlation_id=f"c{number}", subject=f"s{number}"), 0)

    assert [] == flows.add_event(late, 0)
    assert ["s1"] == [flow.subject for flow in flows.all()]
    flows.add_event(example("OrderCreated", id="e2", correlation_id="c2", subject="s2"), 0)
    assert 1 == len(flows.add_event(late, 0)), "what is remembered of them is bounded"


def test_a_flow_that_never_ends_keeps_its_newest_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody may repeat one request for ever."""
    monkeypatch.setattr(module, "STEPS_MAX", 3)
    flows = Flows()
    for number in range(5):
        flows.add_event(example("OrderCreated", id=f"e{number}"), 0)

    assert [3, 4, 5] == [step.number for step in flows.all()[0].steps]
    assert {"e2", "e3", "e4"} == set(flows._events)


@pytest.mark.parametrize("topic", TOPICS)
def test_an_event_without_anything_in_it_is_shown_all_the_same(topic: str) -> None:
    """Services judge events; the page shows what passed."""
    flows = Flows()
    flows.add_event(Event(topic, "", "", "", "no time"), 7)

    [flow] = flows.all()
    assert [(topic, 7)] == [(step.name, step.at) for step in flow.steps]


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*/*.json")), ids=lambda path: "/".join(path.parts[-2:]))
def test_every_example_says_something_short(path: Path) -> None:
    """In words that fit a line, none of them missing."""
    [change] = Flows().add_event(example(path.parent.name, path.stem), 0)

    assert 0 < len(change.step.note) <= 200
    assert "?" not in change.step.note


def test_one_flow_does_not_grow_for_ever() -> None:
    """Whoever publishes may give one correlation id to anything: its keys and its mails are bounded as well."""
    flows = Flows()
    first = example("EmailRequested")
    for number in range(1_000):
        output = {"message_id": f"<{number}>" + "x" * 1_000}
        flows.add_event(example("EmailRequested", id=str(number), subject=str(number), data=output), 0)

    assert 1 == len(flows.all())
    assert module.KEYS_MAX >= len(flows._by_key)
    assert module.KEYS_MAX >= len(flows._flow_by_message_id)
    assert first.correlation_id in flows._by_key


@pytest.mark.parametrize(("end", "name"), [("OrderPaid", "typical"), ("OrderNotPaid", "insufficient_funds")])
def test_the_end_stays_the_end_when_it_is_seen_first(end: str, name: str) -> None:
    """Each topic comes on a way of its own."""
    flows = Flows()
    created = example("OrderCreated")
    for event in (example(end, name, subject=created.subject, correlation_id=created.correlation_id), created):
        flows.add_event(event, 0)

    assert [module.OUTCOMES[end]] == [flow.outcome for flow in flows.all()]
