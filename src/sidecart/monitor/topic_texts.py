"""The texts of requests and events on the page: from the description, or else from their names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sidecart.chassis.currency import Currency
from sidecart.launcher.topics import GATEWAY, read_topics
from sidecart.monitor.description import Description, EventEntry, FlowEntry, Outcome
from sidecart.monitor.flow import OTHER, Tone
from sidecart.monitor.resources import CHARACTERS_MAX, Resources
from sidecart.monitor.templates import default_summary, parsed, render

SUMMARY_CHARACTERS_MAX = 200
BAD = ("Rejected", "Failed")
"""The last words of topics that report no success."""
REQUESTED = "Requested"
NO_ENTRY = EventEntry()


def words(name: str) -> str:
    """Return the words of a CamelCase name, in lower case."""
    return " ".join(re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)).lower()


class TopicTexts:
    """Titles, summaries, tones and outcomes."""

    def __init__(self, description: Description, resources: Resources, currency: Currency) -> None:
        self._events = description.events
        self._by_topic = {flow.topic: flow for flow in description.flows}
        self._by_path = {flow.path: flow for flow in description.flows}
        self._resources = resources
        self._currency = currency
        self._places = {topic: place for place, topic in enumerate(read_topics())}
        self._outcomes = {topic: self._outcome_of(topic) for topic in read_topics()}

    def place_of(self, topic: str) -> int:
        """Return a topic's place in the topic list, which is causal."""
        return self._places[topic]

    def request(self, path: str, body: Mapping[str, Any]) -> tuple[str, str]:
        """Return the kind and the title of the flow that a request begins."""
        entry = self._by_path.get(path)
        return (OTHER, f"POST {path}") if entry is None else (entry.name, self._title(entry, body))

    def command(self, topic: str, data: Mapping[str, Any]) -> tuple[str, str]:
        """Return the kind and the title of the flow that an event begins, OTHER for no command."""
        entry = self._by_topic.get(topic)
        if entry is not None:
            return entry.name, self._title(entry, data)
        if read_topics()[topic].publisher == GATEWAY:
            return words(topic.removesuffix(REQUESTED)), topic
        return OTHER, f"{topic}, earlier events not seen"

    def summary(self, topic: str, data: Mapping[str, Any]) -> str:
        """Return a short summary of an event."""
        template = self._events.get(topic, NO_ENTRY).summary
        return (render(template, data, self._currency) if template else default_summary(data))[:SUMMARY_CHARACTERS_MAX]

    def tone(self, topic: str) -> Tone:
        """Return the tone of an event's arrow."""
        return self._events.get(topic, NO_ENTRY).tone or ("bad" if topic.endswith(BAD) else "plain")

    def outcome(self, topic: str) -> Outcome | None:
        """Return the state of a flow after an event, None if the event does not change it."""
        return self._outcomes[topic]

    def _outcome_of(self, topic: str) -> Outcome | None:
        entry = self._events.get(topic, NO_ENTRY)
        if entry.outcome is not None or GATEWAY not in read_topics()[topic].consumers:
            return entry.outcome
        return Outcome(text=words(topic), tone=self.tone(topic))  # a reply to a held request

    def _title(self, entry: FlowEntry, data: Mapping[str, Any]) -> str:
        values = {name: value[:CHARACTERS_MAX] if isinstance(value, str) else value for name, value in data.items()}
        for _, field, _ in parsed(entry.title):
            kind, dot, name = (field or "").partition(".")
            if dot:
                values[f"{kind}.{name}"] = self._resources.field(kind, str(data.get(kind, "")), name)
        return render(entry.title, values, self._currency)
