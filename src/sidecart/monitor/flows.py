"""Group requests, events, responses and mails into flows; keep the last hundred flows.

The module does no I/O: each method takes an event, a request or a mail with its time, and returns
the changes for the page. Publishers and consumers come from the topic list. A command begins a
flow: the gateway publishes it. The project's description adds titles and outcomes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from sidecart.chassis.currency import DEFAULT, Currency
from sidecart.launcher.topics import GATEWAY, read_topics
from sidecart.monitor import erased
from sidecart.monitor.description import Description
from sidecart.monitor.event import Event
from sidecart.monitor.flow import (
    CLIENT,
    IN_PROGRESS,
    MAIL,
    OTHER,
    UNKNOWN,
    Call,
    Change,
    Flow,
    Step,
    change_of,
    head_of,
)
from sidecart.monitor.flow_index import MESSAGE_ID_CHARACTERS_MAX, FlowIndex
from sidecart.monitor.resources import CHARACTERS_MAX, Resources
from sidecart.monitor.topic_texts import TopicTexts

FLOWS_MAX = 100
STEPS_MAX = 60
"""Steps of one flow, several times those of a usual one; repetitions only increase a counter."""


class Flows:
    """The last hundred flows."""

    def __init__(self, description: Description, resources: Resources, currency: Currency = DEFAULT) -> None:
        self._texts = TopicTexts(description, resources, currency)
        self._mail = description.mail
        self._erased = resources.erased
        self._shown_ids = {panel.resource for panel in description.panels}
        self._flows: OrderedDict[int, Flow] = OrderedDict()
        self.index = FlowIndex()
        self._newest = 0

    def all(self) -> list[Flow]:
        """All flows, oldest first."""
        return list(self._flows.values())

    def add_event(self, event: Event, now_ms: float) -> list[Change]:
        """Add an event to its flow."""
        known = self.index.events.get(event.id)
        if known is not None:
            flow, step = known
            step.times += 1
            return [change_of(flow, step)]
        if self.index.is_evicted(event.correlation_id):
            return []
        flow = self._flow_of(event, now_ms)
        self.index.add_person(self._erased.person_of(event.data), flow)
        step = self._add(flow, self._step_of(event, now_ms))
        self.index.add_event(event.id, flow, step)
        self._update_outcome(flow, event.topic)
        return [change_of(flow, step), *self._expect_mail(flow, event)]

    def add_request(self, call: Call) -> list[Change]:
        """Add a request and its response; the created resource identifies the flow."""
        flow = self.index.by_key.get(call.resource) if call.resource else None
        if flow is None:
            kind, title = self._texts.request(call.path, call.body)
            flow = self._begin(kind, title, call.resource, call.requested_at)
            self.index.add_key(call.resource, flow)
        for data in (call.body, call.answer):
            self.index.add_person(self._erased.person_of(data), flow)
        is_bad = call.status >= 400
        if is_bad:
            flow.outcome, flow.tone = f"rejected: {call.status}", "bad"
        request = Step(0, "request", f"POST {call.path}", CLIENT, (GATEWAY,), call.requested_at, -1)
        answer = Step(
            0,
            "answer",
            f"{call.status} {call.reason}",
            GATEWAY,
            (CLIENT,),
            call.answered_at,
            len(read_topics()),
            str(call.answer.get("detail", "")),
            "bad" if is_bad else "plain",
        )
        return [change_of(flow, self._add(flow, step)) for step in (request, answer)]

    def add_mail(self, mail: Mapping[str, Any]) -> list[Change]:
        """Add a sent mail; a mail without a flow waits for the event that requests it."""
        if self._mail is None:
            return []
        message_id = _message_id(mail)
        flow = self.index.by_message_id.get(message_id)
        if flow is None:
            self.index.keep_mail(message_id, mail)
            return []
        for step in flow.steps:
            if step.kind == MAIL and step.name == message_id:
                step.times += 1
                return [change_of(flow, step)]
        topic = read_topics()[self._mail.topic]
        sender = next(iter(topic.consumers), topic.publisher)
        at = float(mail.get("taken_at", 0.0)) * 1000 // 1
        note = f"to {mail.get('to')}: {mail.get('subject')}"
        step = Step(0, MAIL, message_id, sender, (MAIL,), at, len(read_topics()) + 1, note)
        return [change_of(flow, self._add(flow, step))]

    def forget(self, person: str) -> None:
        """Remove the texts of the flows that name a person, or that name none."""
        self.index.forget_mails()
        for flow in self._flows.values():
            if self.index.may_name(person, flow):
                _erase(flow)

    def forget_all(self) -> None:
        """Remove all flows."""
        self.index.forget_mails()
        for number in self._flows:
            self.index.evict(number)
        self._flows.clear()

    def is_mail_of_another(self, mail: Mapping[str, Any], person: str) -> bool:
        """Return whether the flow of a mail is known, and names other people only."""
        flow = self.index.by_message_id.get(_message_id(mail))
        return flow is not None and not self.index.may_name(person, flow)

    def is_mail_of_erased(self, mail: Mapping[str, Any]) -> bool:
        """Return whether the flow of a mail is known, and names an erased person."""
        flow = self.index.by_message_id.get(_message_id(mail))
        return flow is not None and any(map(self._erased.is_erased, self.index.people(flow)))

    def mark_dead_letters(self, ids: Collection[str]) -> list[Flow]:
        """Mark the steps whose events are open dead letters; return the changed flows."""
        dead: dict[int, list[int]] = {}
        for id_ in ids:
            if id_ in self.index.events:
                flow, step = self.index.events[id_]
                dead.setdefault(flow.number, []).append(step.number)
        changes = []
        for number, flow in self._flows.items():
            now = sorted(dead.get(number, []))
            if now != flow.dead_steps:
                flow.dead_steps = now
                changes.append(head_of(flow))
        return changes

    def _step_of(self, event: Event, now_ms: float) -> Step:
        topic = read_topics()[event.topic]
        return Step(
            0,
            "event",
            event.topic,
            topic.publisher,
            topic.consumers,
            _milliseconds(event.time) or now_ms,
            self._texts.place_of(event.topic),
            self._texts.summary(event.topic, event.data),
            self._texts.tone(event.topic),
        )

    def _update_outcome(self, flow: Flow, topic: str) -> None:
        outcome = self._texts.outcome(topic)
        if outcome is None:
            return
        place = self._texts.place_of
        # Topics arrive independently, so the last event may arrive before an earlier one.
        others = (step.name for step in flow.steps if step.kind == "event")
        if all(place(other) <= place(topic) for other in others if self._texts.outcome(other) is not None):
            flow.outcome, flow.tone = outcome.text, outcome.tone

    def _expect_mail(self, flow: Flow, event: Event) -> list[Change]:
        if self._mail is None or event.topic != self._mail.topic:
            return []
        early = self.index.expect_mail(str(event.data.get(self._mail.message_id, "")), flow)
        return [] if early is None else self.add_mail(early)

    def _flow_of(self, event: Event, now_ms: float) -> Flow:
        # A response may arrive before its events; the flow is then indexed by the created resource.
        flow = self.index.by_key.get(event.correlation_id) or self.index.by_key.get(event.subject)
        kind, title = self._texts.command(event.topic, event.data)
        if flow is None:
            flow = self._begin(kind, title, event.subject, now_ms)
            flow.outcome = UNKNOWN if kind == OTHER else IN_PROGRESS
        elif flow.kind == OTHER and kind != OTHER:  # a later event of the flow arrived first
            flow.kind, flow.title, flow.subject = kind, title, event.subject
            flow.outcome = IN_PROGRESS if flow.outcome == UNKNOWN else flow.outcome
        for key in (event.correlation_id, event.subject):
            self.index.add_key(key, flow)
        for name in self._shown_ids:
            if isinstance(value := event.data.get(name), str):
                flow.ids[name] = value[:CHARACTERS_MAX]
        return flow

    def _begin(self, kind: str, title: str, subject: str, now_ms: float) -> Flow:
        self._newest += 1
        flow = Flow(self._newest, kind, title, subject=subject, began_at=now_ms)
        self._flows[flow.number] = flow
        self.index.begin(flow)
        if len(self._flows) > FLOWS_MAX:
            number, _ = self._flows.popitem(last=False)
            self.index.evict(number)
        return flow

    def _add(self, flow: Flow, step: Step) -> Step:
        step.number = flow.steps[-1].number + 1 if flow.steps else 1
        flow.steps.append(step)
        if len(flow.steps) > STEPS_MAX:
            self.index.drop_step(flow, flow.steps.pop(0))
        if any(map(self._erased.is_erased, self.index.people(flow))):
            _erase(flow)
        return step


def _erase(flow: Flow) -> None:
    flow.title = erased.TEXT
    for step in flow.steps:
        step.note = erased.TEXT


def _message_id(mail: Mapping[str, Any]) -> str:
    return str(mail.get("message_id", ""))[:MESSAGE_ID_CHARACTERS_MAX]


def _milliseconds(time: str) -> float | None:
    try:
        return datetime.fromisoformat(time).timestamp() * 1000 // 1
    except ValueError:
        return None
