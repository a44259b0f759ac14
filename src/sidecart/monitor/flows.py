"""Group requests, events, responses and mails into flows; keep the last hundred flows.

The module does no I/O: each method takes an event, a request or a mail with its time, and returns
the changes for the page.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any

from sidecart.launcher.topics import GATEWAY, read_topics
from sidecart.monitor.event import Event
from sidecart.monitor.event_summary import summarize

FLOWS_MAX = 100
STEPS_MAX = 60
"""Steps of one flow; an order has at most 15, and repetitions only increase a counter."""
PEOPLE_MAX = 100
MAILS_MAX = 200
"""Mails that arrived before their EmailRequested event."""
EVICTED_MAX = 10_000
"""Keys of evicted flows: late events of these flows start no new one.

A busy shop starts a hundred flows within a second, so events do arrive after an eviction.
"""
NAME_CHARACTERS_MAX = 254
"""Characters of a name or address: the gateway's limit, since other publishers have none."""

CLIENT = "client"
MAIL = "mail"
KEYS_MAX = 10
"""Keys of one flow: its correlation id and the subjects of its events, usually one."""
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
    "UserCreateRejected": "rejected",
    "AccountDeposited": "deposited",
    "AccountDepositRejected": "rejected",
    "OrderCreated": "payment pending",
    "OrderCreateRejected": "rejected",
    "OrderPaid": "paid",
    "OrderNotPaid": "not paid",
}
RESOURCES = {"registration": "user_id", "deposit": "deposit_id", "order": "order_id"}


@cache
def place_of(topic: str) -> int:
    """Return a topic's place in the causal order, which sorts steps of the same millisecond."""
    return list(read_topics()).index(topic)


@dataclass(slots=True)
class Step:
    """One row of the diagram: a request, an event with its consumers, a response or a mail."""

    number: int
    kind: str
    """request, event, answer or mail."""
    name: str
    source: str
    targets: tuple[str, ...]
    at: float
    """Wall clock in whole milliseconds, the resolution of event times."""
    rank: float
    """Sorts steps of the same millisecond."""
    note: str = ""
    times: int = 1
    """How often it was seen: an event may be published or delivered again."""


@dataclass(slots=True)
class Flow:
    """One registration, deposit or order with all its steps."""

    number: int
    kind: str
    title: str
    outcome: str = "in progress"
    subject: str = ""
    user_id: str = ""
    steps: list[Step] = field(default_factory=list)


@dataclass(slots=True)
class IndexKeys:
    """The index keys of one flow, so that adding or evicting a flow scans no index."""

    keys: list[str] = field(default_factory=list)
    """The correlation id, and the id of the created resource."""
    events: dict[int, str] = field(default_factory=dict)
    """Event ids by step number."""
    mails: list[str] = field(default_factory=list)
    """Message-IDs of the mails that its events request."""


@dataclass(frozen=True, slots=True)
class Person:
    """A user from an observed event or response."""

    user_id: str
    name: str
    email: str


@dataclass(frozen=True, slots=True)
class Change:
    """A notice to the page: the flow without its other steps, and its new or repeated step."""

    flow: Flow
    step: Step


@dataclass(frozen=True, slots=True)
class Call:
    """A request through the page, and its response; times are milliseconds of the wall clock."""

    path: str
    body: Mapping[str, Any]
    status: int
    reason: str
    answer: Mapping[str, Any]
    requested_at: float
    answered_at: float


class Flows:
    """The last hundred flows, and the users in them."""

    def __init__(self) -> None:
        self._flows: OrderedDict[int, Flow] = OrderedDict()
        self._index_keys: dict[int, IndexKeys] = {}
        """By flow number."""
        self._by_key: dict[str, Flow] = {}
        """By correlation id and by id of the created resource."""
        self._events: dict[str, tuple[Flow, Step]] = {}
        self._flow_by_message_id: dict[str, Flow] = {}
        """By Message-ID, the flow that requested the mail."""
        self._early_mails: OrderedDict[str, Mapping[str, Any]] = OrderedDict()
        self._evicted: OrderedDict[str, None] = OrderedDict()
        """By correlation id and by id of the created resource."""
        self._newest = 0
        self.people: OrderedDict[str, Person] = OrderedDict()

    def all(self) -> list[Flow]:
        """All flows, oldest first."""
        return list(self._flows.values())

    def add_event(self, event: Event, now_ms: float) -> list[Change]:
        """Add an event to its flow."""
        known = self._events.get(event.id)
        if known is not None:
            flow, step = known
            step.times += 1
            return [_change(flow, step)]
        self._remember_person_of(event)
        if event.correlation_id in self._evicted:
            return []
        flow = self._flow_of(event)
        topic = read_topics()[event.topic]
        step = self._add(
            flow,
            Step(
                0,
                "event",
                event.topic,
                topic.publisher,
                topic.consumers,
                _milliseconds(event.time) or now_ms,
                place_of(event.topic),
                summarize(event.topic, event.data),
            ),
        )
        index_keys = self._index_keys[flow.number]
        self._events[event.id] = flow, step
        index_keys.events[step.number] = event.id
        if event.topic in OUTCOMES and all(
            place_of(each.name) <= place_of(event.topic) for each in flow.steps if each.name in OUTCOMES
        ):  # topics arrive independently, so the last event may arrive before an earlier one
            flow.outcome = OUTCOMES[event.topic]
        changes = [_change(flow, step)]
        if event.topic == "EmailRequested":
            message_id = str(event.data.get("message_id", ""))[:MESSAGE_ID_CHARACTERS_MAX]
            if message_id not in self._flow_by_message_id and len(index_keys.mails) < KEYS_MAX:
                self._flow_by_message_id[message_id] = flow
                index_keys.mails.append(message_id)
            early = self._early_mails.pop(message_id, None)
            changes += self.add_mail(early) if early is not None else []
        return changes

    def add_request(self, call: Call) -> list[Change]:
        """Add a request and its response; the created resource identifies the flow."""
        kind = KINDS[call.path]
        subject = str(call.answer.get(RESOURCES[kind], ""))
        flow = self._by_key.get(subject) if subject else None
        if flow is None:
            flow = self._begin(kind, self._title(kind, call.body, call.path), subject)
            if subject:
                self._index(subject, flow)
        if kind == "registration" and call.status == 201:
            self._remember_person(call.answer)
        if call.status >= 400:
            flow.outcome = f"rejected: {call.status}"
        request = Step(0, "request", f"POST {call.path}", CLIENT, (GATEWAY,), call.requested_at, -1)
        message = str(call.answer.get("detail", ""))
        answer = Step(
            0,
            "answer",
            f"{call.status} {call.reason}",
            GATEWAY,
            (CLIENT,),
            call.answered_at,
            len(read_topics()),
            message,
        )
        return [_change(flow, self._add(flow, step)) for step in (request, answer)]

    def add_mail(self, mail: Mapping[str, Any]) -> list[Change]:
        """Add a sent mail; a mail without a request waits for its EmailRequested event."""
        message_id = str(mail.get("message_id", ""))[:MESSAGE_ID_CHARACTERS_MAX]
        flow = self._flow_by_message_id.get(message_id)
        if flow is None:
            self._early_mails[message_id] = mail
            if len(self._early_mails) > MAILS_MAX:
                self._early_mails.popitem(last=False)
            return []
        for step in flow.steps:
            if step.kind == MAIL and step.name == message_id:
                step.times += 1
                return [_change(flow, step)]
        at = float(mail.get("taken_at", 0.0)) * 1000 // 1
        message = f"to {mail.get('to')}: {mail.get('subject')}"
        step = Step(0, MAIL, message_id, "notification", (MAIL,), at, len(read_topics()) + 1, message)
        return [_change(flow, self._add(flow, step))]

    def _flow_of(self, event: Event) -> Flow:
        starts_flow = event.topic in KINDS
        # A response may arrive before its events; the flow is then indexed by the created resource.
        flow = self._by_key.get(event.correlation_id) or self._by_key.get(event.subject)
        kind = KINDS.get(event.topic, "other")
        if flow is None:
            flow = self._begin(kind, self._title(kind, event.data, event.topic), event.subject)
        elif flow.kind == "other" and starts_flow:  # a later event of the flow arrived first
            flow.kind, flow.title = kind, self._title(kind, event.data, event.topic)
            flow.subject = event.subject
        for key in filter(None, (event.correlation_id, event.subject)):
            self._index(key, flow)
        user_id = event.data.get("user_id")
        if isinstance(user_id, str):
            flow.user_id = user_id[:NAME_CHARACTERS_MAX]
        return flow

    def _index(self, key: str, flow: Flow) -> None:
        keys = self._index_keys[flow.number].keys
        if key not in self._by_key and len(keys) < KEYS_MAX:
            self._by_key[key] = flow
            keys.append(key)

    def _begin(self, kind: str, title: str, subject: str) -> Flow:
        self._newest += 1
        flow = Flow(self._newest, kind, title, subject=subject)
        self._flows[flow.number] = flow
        self._index_keys[flow.number] = IndexKeys()
        if len(self._flows) > FLOWS_MAX:
            self._evict(next(iter(self._flows)))
        return flow

    def _evict(self, number: int) -> None:
        del self._flows[number]
        index_keys = self._index_keys.pop(number)
        for key in index_keys.keys:
            del self._by_key[key]
            self._evicted[key] = None
        while len(self._evicted) > EVICTED_MAX:
            self._evicted.popitem(last=False)
        for event_id in index_keys.events.values():
            del self._events[event_id]
        for message_id in index_keys.mails:
            del self._flow_by_message_id[message_id]

    def _add(self, flow: Flow, step: Step) -> Step:
        step.number = flow.steps[-1].number + 1 if flow.steps else 1
        flow.steps.append(step)
        if len(flow.steps) > STEPS_MAX:
            oldest = flow.steps.pop(0)
            event_id = self._index_keys[flow.number].events.pop(oldest.number, None)
            if event_id is not None:
                del self._events[event_id]
        return step

    def _title(self, kind: str, data: Mapping[str, Any], first: str) -> str:
        person = self.people.get(str(data.get("user_id", "")))
        match kind:
            case "registration":
                return f"{str(data.get('name', '?'))[:NAME_CHARACTERS_MAX]} registers"
            case "deposit":
                return f"{person.name if person else 'A user'} deposits money"
            case "order":
                return f"{person.name if person else 'A user'} orders"
            case _:
                return f"{first}, earlier events not seen"

    def _remember_person_of(self, event: Event) -> None:
        if event.topic in ("UserCreated", "UserCreateRequested"):
            self._remember_person(event.data)

    def _remember_person(self, data: Mapping[str, Any]) -> None:
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
