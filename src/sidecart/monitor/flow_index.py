"""Find the flow of an event, a response or a mail, for the last hundred flows."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sidecart.monitor.flow import Flow, Step

MAILS_MAX = 200
"""Mails that arrived before the event that requests them."""
EVICTED_MAX = 10_000
"""Keys of evicted flows: late events of these flows start no new one.

A busy system starts a hundred flows within a second, so events do arrive after an eviction.
"""
KEYS_MAX = 10
"""Keys of one flow: its correlation id and the subjects of its events, usually one."""
MESSAGE_ID_CHARACTERS_MAX = 200


@dataclass(slots=True)
class IndexKeys:
    """The index keys of one flow, so that adding or evicting a flow scans no index."""

    keys: list[str] = field(default_factory=list)
    """The correlation id, and the id of the created resource."""
    events: dict[int, str] = field(default_factory=dict)
    """Event ids by step number."""
    people: list[str] = field(default_factory=list)
    """The people that its events and its request name, usually one."""
    mails: list[str] = field(default_factory=list)
    """Message-IDs of the mails that its events request."""


class FlowIndex:
    """The flows by correlation id, resource, event and mail; all of it is bounded."""

    def __init__(self) -> None:
        self._index_keys: dict[int, IndexKeys] = {}
        """By flow number."""
        self.by_key: dict[str, Flow] = {}
        """By correlation id and by id of the created resource."""
        self.events: dict[str, tuple[Flow, Step]] = {}
        self.by_message_id: dict[str, Flow] = {}
        """By Message-ID, the flow that requested the mail."""
        self._early_mails: OrderedDict[str, Mapping[str, Any]] = OrderedDict()
        self._evicted: OrderedDict[str, None] = OrderedDict()
        """By correlation id and by id of the created resource."""

    def begin(self, flow: Flow) -> None:
        """Add a flow without keys."""
        self._index_keys[flow.number] = IndexKeys()

    def add_key(self, key: str, flow: Flow) -> None:
        """Find the flow by this key too, if it has not too many."""
        keys = self._index_keys[flow.number].keys
        if key and key not in self.by_key and len(keys) < KEYS_MAX:
            self.by_key[key] = flow
            keys.append(key)

    def add_person(self, person: str, flow: Flow) -> None:
        """Remember that a flow names this person; an empty id is none."""
        people = self._index_keys[flow.number].people
        if person and person not in people and len(people) < KEYS_MAX:
            people.append(person)

    def people(self, flow: Flow) -> list[str]:
        """Return the people that a flow names."""
        return self._index_keys[flow.number].people

    def may_name(self, person: str, flow: Flow) -> bool:
        """Return whether a flow names a person, or may do so: it names none, or very many."""
        people = self.people(flow)
        return person in people or not 0 < len(people) < KEYS_MAX

    def forget_mails(self) -> None:
        """Forget the mails whose request has not been seen: their recipient is unknown."""
        self._early_mails.clear()

    def add_event(self, event_id: str, flow: Flow, step: Step) -> None:
        """Find the step of an event by the event's id."""
        self.events[event_id] = flow, step
        self._index_keys[flow.number].events[step.number] = event_id

    def drop_step(self, flow: Flow, step: Step) -> None:
        """Forget the event of a step that left its flow."""
        event_id = self._index_keys[flow.number].events.pop(step.number, None)
        if event_id is not None:
            del self.events[event_id]

    def expect_mail(self, message_id: str, flow: Flow) -> Mapping[str, Any] | None:
        """Find the flow by the mail that an event requests; return the mail if it came first."""
        message_id = message_id[:MESSAGE_ID_CHARACTERS_MAX]
        mails = self._index_keys[flow.number].mails
        if message_id not in self.by_message_id and len(mails) < KEYS_MAX:
            self.by_message_id[message_id] = flow
            mails.append(message_id)
        return self._early_mails.pop(message_id, None)

    def keep_mail(self, message_id: str, mail: Mapping[str, Any]) -> None:
        """Keep a mail whose request has not been seen yet."""
        self._early_mails[message_id] = mail
        if len(self._early_mails) > MAILS_MAX:
            self._early_mails.popitem(last=False)

    def is_evicted(self, key: str) -> bool:
        """Return whether a key belongs to an evicted flow."""
        return key in self._evicted

    def evict(self, number: int) -> None:
        """Forget a flow, and remember its keys for a while."""
        index_keys = self._index_keys.pop(number)
        for key in index_keys.keys:
            del self.by_key[key]
            self._evicted[key] = None
        while len(self._evicted) > EVICTED_MAX:
            self._evicted.popitem(last=False)
        for event_id in index_keys.events.values():
            del self.events[event_id]
        for message_id in index_keys.mails:
            del self.by_message_id[message_id]
