"""What belongs together: a request, the events that it started, its answer and its mails; the last hundred of them.

Pure: what happens is told by events, calls and mails, each with its time; what changed is the answer.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from cli.topics import GATEWAY, TOPICS
from monitor.event import Event
from monitor.event_summary import summarize

FLOWS_MAX = 100
STEPS_MAX = 60
"""Of one flow; an order has at most fifteen, and what is repeated is counted and not added."""
PEOPLE_MAX = 100
MAILS_MAX = 200
"""Mails that came here before the event that asked for them."""
GONE_MAX = 10_000
"""Flows that made room, whose late events begin no new one: a busy shop has a hundred newer ones within a second."""
NAME_CHARACTERS_MAX = 254
"""Of a name or an address, as the gateway allows; whoever publishes may send anything."""

CLIENT = "client"
MAIL = "mail"
KEYS_MAX = 10
"""Of one flow: its correlation id, and what its events are about, which is one thing as a rule."""
MESSAGE_ID_CHARACTERS_MAX = 200
KINDS = {
    "UserCreateRequested": "registration",
    "AccountDepositRequested": "deposit",
    "OrderCreateRequested": "order",
    "/user/register": "registration",
    "/account/deposit": "deposit",
    "/order/create": "order",
}
OUTCOMES = {
    "UserCreated": "registered",
    "UserCreateRejected": "refused",
    "AccountDeposited": "paid in",
    "AccountDepositRejected": "refused",
    "OrderCreated": "payment pending",
    "OrderCreateRejected": "refused",
    "OrderPaid": "paid",
    "OrderNotPaid": "not paid",
}
ORDER = {topic: place for place, topic in enumerate(TOPICS)}
"""The topic list is in the order in which one leads to the other: what has the same millisecond is shown in it."""
RESOURCES = {"registration": "user_id", "deposit": "deposit_id", "order": "order_id"}


@dataclass(slots=True)
class Step:
    """One arrow, or one event's arrows: from whom, to whom, when."""

    number: int
    kind: str
    """request, event, answer or mail."""
    name: str
    source: str
    targets: tuple[str, ...]
    at: float
    """Milliseconds of the wall clock, whole: an event's time has no more."""
    rank: float
    """Which of two of the same millisecond comes first."""
    note: str = ""
    times: int = 1
    """How often it passed: an event may be published or delivered again."""


@dataclass(slots=True)
class Flow:
    """One thing that somebody wanted."""

    number: int
    kind: str
    title: str
    outcome: str = "under way"
    subject: str = ""
    user_id: str = ""
    steps: list[Step] = field(default_factory=list)


@dataclass(slots=True)
class Names:
    """By what one flow is found, so that whoever adds one or lets the flow go need not look through all of them."""

    keys: list[str] = field(default_factory=list)
    """Its correlation id, and what a request made."""
    events: dict[int, str] = field(default_factory=dict)
    """The ids of its events, by the number of the step."""
    mails: list[str] = field(default_factory=list)
    """The Message-IDs of the mails that it wants sent."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who was seen."""

    user_id: str
    name: str
    email: str


@dataclass(frozen=True, slots=True)
class Change:
    """What a page has to be told: the flow without its other steps, and the step, new or repeated."""

    flow: Flow
    step: Step


@dataclass(frozen=True, slots=True)
class Call:
    """A request that went through here, and how it was answered; times are milliseconds of the wall clock."""

    path: str
    body: Mapping[str, Any]
    status: int
    reason: str
    answer: Mapping[str, Any]
    asked_at: float
    answered_at: float


class Flows:
    """The last hundred flows, and who was seen in them."""

    def __init__(self) -> None:
        self._flows: OrderedDict[int, Flow] = OrderedDict()
        self._names: dict[int, Names] = {}
        """By the number of the flow."""
        self._by_key: dict[str, Flow] = {}
        """By correlation id, and by what a request made."""
        self._events: dict[str, tuple[Flow, Step]] = {}
        self._asked_for: dict[str, Flow] = {}
        """By Message-ID the flow that wants this mail sent."""
        self._early: OrderedDict[str, Mapping[str, Any]] = OrderedDict()
        self._gone: OrderedDict[str, None] = OrderedDict()
        """By correlation id, and by what a request made."""
        self._newest = 0
        self.people: OrderedDict[str, Person] = OrderedDict()

    def all(self) -> list[Flow]:
        """The flows, oldest first."""
        return list(self._flows.values())

    def add_event(self, event: Event, now_ms: float) -> list[Change]:
        """An event passed."""
        known = self._events.get(event.id)
        if known is not None:
            flow, step = known
            step.times += 1
            return [_change(flow, step)]
        self._meet(event)
        if event.correlation_id in self._gone:
            return []
        flow = self._flow_of(event)
        topic = TOPICS[event.topic]
        step = self._add(
            flow,
            Step(
                0,
                "event",
                event.topic,
                topic.publisher,
                topic.consumers,
                _milliseconds(event.time) or now_ms,
                ORDER[event.topic],
                summarize(event.topic, event.data),
            ),
        )
        names = self._names[flow.number]
        self._events[event.id] = flow, step
        names.events[step.number] = event.id
        if event.topic in OUTCOMES and all(
            ORDER[each.name] <= ORDER[event.topic] for each in flow.steps if each.name in OUTCOMES
        ):  # each topic comes on a way of its own: the end may be seen before what led to it
            flow.outcome = OUTCOMES[event.topic]
        changes = [_change(flow, step)]
        if event.topic == "EmailRequested":
            message_id = str(event.data.get("message_id", ""))[:MESSAGE_ID_CHARACTERS_MAX]
            if message_id not in self._asked_for and len(names.mails) < KEYS_MAX:
                self._asked_for[message_id] = flow
                names.mails.append(message_id)
            early = self._early.pop(message_id, None)
            changes += self.add_mail(early) if early is not None else []
        return changes

    def add_request(self, call: Call) -> list[Change]:
        """A request was answered; what it made says which flow it began."""
        kind = KINDS[call.path]
        subject = str(call.answer.get(RESOURCES[kind], ""))
        flow = self._by_key.get(subject) if subject else None
        if flow is None:
            flow = self._begin(kind, self._title(kind, call.body, call.path), subject)
            if subject:
                self._find_by(subject, flow)
        if kind == "registration" and call.status == 201:
            self._meet_person(call.answer)
        if call.status >= 400:
            flow.outcome = f"refused: {call.status}"
        question = Step(0, "request", f"POST {call.path}", CLIENT, (GATEWAY,), call.asked_at, -1)
        message = str(call.answer.get("detail", ""))
        answer = Step(
            0, "answer", f"{call.status} {call.reason}", GATEWAY, (CLIENT,), call.answered_at, len(ORDER), message
        )
        return [_change(flow, self._add(flow, step)) for step in (question, answer)]

    def add_mail(self, mail: Mapping[str, Any]) -> list[Change]:
        """The mail server took a mail; one that nobody asked for yet waits for the event that does."""
        message_id = str(mail.get("message_id", ""))[:MESSAGE_ID_CHARACTERS_MAX]
        flow = self._asked_for.get(message_id)
        if flow is None:
            self._early[message_id] = mail
            if len(self._early) > MAILS_MAX:
                self._early.popitem(last=False)
            return []
        for step in flow.steps:
            if step.kind == MAIL and step.name == message_id:
                step.times += 1
                return [_change(flow, step)]
        at = float(mail.get("taken_at", 0.0)) * 1000 // 1
        message = f"to {mail.get('to')}: {mail.get('subject')}"
        step = Step(0, MAIL, message_id, "notification", (MAIL,), at, len(ORDER) + 1, message)
        return [_change(flow, self._add(flow, step))]

    def _flow_of(self, event: Event) -> Flow:
        starts_flow = event.topic in KINDS
        # A request's answer may be here before the events that it started: it left its mark under what it made.
        flow = self._by_key.get(event.correlation_id) or self._by_key.get(event.subject)
        kind = KINDS.get(event.topic, "other")
        if flow is None:
            flow = self._begin(kind, self._title(kind, event.data, event.topic), event.subject)
        elif flow.kind == "other" and starts_flow:  # what it started was seen before it
            flow.kind, flow.title = kind, self._title(kind, event.data, event.topic)
            flow.subject = event.subject
        for key in filter(None, (event.correlation_id, event.subject)):
            self._find_by(key, flow)
        user_id = event.data.get("user_id")
        if isinstance(user_id, str):
            flow.user_id = user_id[:NAME_CHARACTERS_MAX]
        return flow

    def _find_by(self, key: str, flow: Flow) -> None:
        keys = self._names[flow.number].keys
        if key not in self._by_key and len(keys) < KEYS_MAX:
            self._by_key[key] = flow
            keys.append(key)

    def _begin(self, kind: str, title: str, subject: str) -> Flow:
        self._newest += 1
        flow = Flow(self._newest, kind, title, subject=subject)
        self._flows[flow.number] = flow
        self._names[flow.number] = Names()
        if len(self._flows) > FLOWS_MAX:
            self._let_go(next(iter(self._flows)))
        return flow

    def _let_go(self, number: int) -> None:
        del self._flows[number]
        names = self._names.pop(number)
        for key in names.keys:
            del self._by_key[key]
            self._gone[key] = None
        while len(self._gone) > GONE_MAX:
            self._gone.popitem(last=False)
        for event_id in names.events.values():
            del self._events[event_id]
        for message_id in names.mails:
            del self._asked_for[message_id]

    def _add(self, flow: Flow, step: Step) -> Step:
        step.number = flow.steps[-1].number + 1 if flow.steps else 1
        flow.steps.append(step)
        if len(flow.steps) > STEPS_MAX:
            gone = flow.steps.pop(0)
            event_id = self._names[flow.number].events.pop(gone.number, None)
            if event_id is not None:
                del self._events[event_id]
        return step

    def _title(self, kind: str, data: Mapping[str, Any], first: str) -> str:
        person = self.people.get(str(data.get("user_id", "")))
        match kind:
            case "registration":
                return f"{str(data.get('name', '?'))[:NAME_CHARACTERS_MAX]} registers"
            case "deposit":
                return f"{person.name if person else 'Somebody'} pays in"
            case "order":
                return f"{person.name if person else 'Somebody'} orders"
            case _:
                return f"{first}, its beginning not seen"

    def _meet(self, event: Event) -> None:
        if event.topic in ("UserCreated", "UserCreateRequested"):
            self._meet_person(event.data)

    def _meet_person(self, data: Mapping[str, Any]) -> None:
        user_id, name, email = (data.get(each) for each in ("user_id", "name", "email"))
        if isinstance(user_id, str) and isinstance(name, str) and isinstance(email, str):
            self.people[user_id] = Person(*(each[:NAME_CHARACTERS_MAX] for each in (user_id, name, email)))
            if len(self.people) > PEOPLE_MAX:
                self.people.popitem(last=False)


def _change(flow: Flow, step: Step) -> Change:
    head = Flow(flow.number, flow.kind, flow.title, flow.outcome, flow.subject, flow.user_id)
    return Change(head, step)


def _milliseconds(time: str) -> float | None:
    try:
        return datetime.fromisoformat(time).timestamp() * 1000 // 1
    except ValueError:
        return None
