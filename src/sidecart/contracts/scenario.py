"""Runs the scenario of contracts/scenario.json: commands, and every event that follows from them.

The gateway's declarations build each command. The services process it and its consequences, one
event at a time, on stores in memory. The time of an event follows from that of its cause, so the
run gives the same bytes each time, and a further consumer changes no event of the others.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from pydantic import ValidationError

from sidecart.chassis.errors import PermanentError
from sidecart.chassis.processor import EventProcessor
from sidecart.chassis.service import Service
from sidecart.contracts.memory_sidecar import Event, MemorySidecar
from sidecart.edge.command import build_command, resource_id
from sidecart.edge.declarations import AnyCommand, Application, CommandDeclaration
from sidecart.launcher.documents import convert, read_json
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.topics import CONTRACTS, GATEWAY, TOPIC_LIST, Topic, read_topics

SCENARIO = f"{CONTRACTS}/scenario.json"
START = datetime(2026, 1, 15, 9, 30, tzinfo=UTC)
HOP = timedelta(milliseconds=7)
"""The time from the publication of an event to its processing."""
PAUSE = timedelta(minutes=1)
"""The time between the commands of two flows."""
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,59}")
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
DELAY_SECONDS_MAX = 366 * 24 * 3600
WRITER = "8f14e45f"
"""The writer in the outbox entries of the scenario's records."""


SECRET = b"the secret of the examples"
"""Instead of a gateway's secret, from which the ids of resources derive."""


class Flow(msgspec.Struct, forbid_unknown_fields=True):
    """One command of the scenario.

    `name` becomes the name of the example of each event that follows from it. The id of the
    resource is `resource`, or derives from the Idempotency-Key `key`. `delays` maps a topic to the
    seconds by which its consumers process the event late.
    """

    name: str
    topic: str
    body: dict[str, Any]
    resource: str = ""
    key: str = ""
    delays: dict[str, int] = {}


@dataclass(frozen=True, slots=True)
class Example:
    """One event of the scenario, and the name of its example."""

    name: str
    event: Event

    @property
    def file(self) -> str:
        """The path of the example within contracts/."""
        return f"examples/{self.event['type']}/{self.name}.json"


@dataclass(slots=True)
class Run:
    """The result of a scenario: its examples in sequence, and the sidecar of each service."""

    examples: list[Example] = field(default_factory=list)
    sidecars: dict[str, MemorySidecar] = field(default_factory=dict)


def read_flows(folder: Path) -> list[Flow]:
    """Return the scenario of the project in `folder`; raise LaunchError, which names the entry."""
    entries = convert(read_json(folder / SCENARIO), list[object], SCENARIO)
    flows = [convert(entry, Flow, f"{SCENARIO}, entry {number}") for number, entry in enumerate(entries, 1)]
    if not flows:
        raise LaunchError(f"{SCENARIO} has no flow, so no event would have an example")
    for flow in flows:
        _require_valid(flow)
    return flows


def _require_valid(flow: Flow) -> None:
    """Raise LaunchError for a flow that no run can play."""
    where = f"{SCENARIO}: {flow.topic} {flow.name}"
    if not NAME.fullmatch(flow.name):
        raise LaunchError(f"{where}: a name has up to 60 of a-z, 0-9, - and _; it becomes a file name")
    if bool(flow.resource) == bool(flow.key):
        raise LaunchError(f"{where} needs `resource` or `key`, and not both")
    if flow.resource and not UUID.fullmatch(flow.resource):
        raise LaunchError(f"{where}: `resource` is no UUID in lower case: {flow.resource}")
    for topic, seconds in flow.delays.items():
        if topic not in read_topics():
            raise LaunchError(f"{where}: `delays` has {topic}, which is not in {TOPIC_LIST}")
        if not 0 <= seconds <= DELAY_SECONDS_MAX:
            raise LaunchError(f"{where}: the delay of {topic} is not from 0 to {DELAY_SECONDS_MAX} seconds")


def run(
    flows: Sequence[Flow],
    application: Application,
    topics: Mapping[str, Topic],
    services: Mapping[str, Service[Any, Any]],
) -> Run:
    """Run the flows one after the other; raise LaunchError for one that fails."""
    return _Scenario(application, topics, services).run(flows)


class _Scenario:
    def __init__(
        self, application: Application, topics: Mapping[str, Topic], services: Mapping[str, Service[Any, Any]]
    ) -> None:
        self._commands = {command.topic: command for command in application.all_commands}
        self._topics = topics
        self._services = services
        self._clock = START
        self._run = Run(sidecars={name: MemorySidecar() for name in services})
        self._processors = {
            name: EventProcessor(service, self._run.sidecars[name], lambda: self._clock, WRITER)
            for name, service in services.items()
        }
        self._files: set[str] = set()

    def run(self, flows: Sequence[Flow]) -> Run:
        for number, flow in enumerate(flows):
            waiting = deque([self._command(flow, START + number * PAUSE)])
            of_topic = Counter[str]()
            while waiting:
                event = waiting.popleft()
                of_topic[event["type"]] += 1
                count = of_topic[event["type"]]
                self._keep(Example(flow.name if count == 1 else f"{flow.name}-{count}", event))
                for consumer in self._topics[event["type"]].consumers:
                    if consumer != GATEWAY and event["type"] in self._services[consumer].inputs:
                        waiting.extend(self._process(flow, consumer, event))
        return self._run

    def _command(self, flow: Flow, at: datetime) -> Event:
        if flow.topic not in self._commands:
            raise LaunchError(f"{SCENARIO}: no command of the gateway publishes {flow.topic}")
        declared = self._commands[flow.topic]
        body = _body(flow, declared)
        resource = flow.resource
        if isinstance(declared, CommandDeclaration) and flow.key:
            resource = resource_id(SECRET, declared.path, body[declared.owner], flow.key)
        if not resource:
            raise LaunchError(f"{SCENARIO}: {flow.topic} {flow.name} needs `resource`: it creates none")
        made = build_command(flow.topic, resource, "/", body, {declared.resource: resource}, at=at)
        event: Event = msgspec.json.decode(made.event)
        return event

    def _process(self, flow: Flow, consumer: str, event: Event) -> list[Event]:
        """Let a service process an event, and return the events that it publishes."""
        delay = timedelta(seconds=flow.delays.get(event["type"], 0))
        self._clock = datetime.fromisoformat(event["time"]) + HOP + delay
        sidecar = self._run.sidecars[consumer]
        before = len(sidecar.published)
        try:
            asyncio.run(self._processors[consumer].process(event["type"], msgspec.json.encode(event)))
        except PermanentError as error:
            raise LaunchError(
                f"{SCENARIO}: {flow.name}: {consumer} cannot process {event['type']}: {error.reason}"
            ) from error
        return [published for _, published in sidecar.published[before:]]

    def _keep(self, example: Example) -> None:
        if example.file in self._files:
            raise LaunchError(f"{SCENARIO}: two events would be {CONTRACTS}/{example.file}: rename a flow")
        self._files.add(example.file)
        self._run.examples.append(example)


def _body(flow: Flow, declared: AnyCommand) -> dict[str, Any]:
    """Return the body as the gateway sends it; raise LaunchError if the gateway would reject it."""
    try:
        return declared.body.model_validate(flow.body).model_dump(exclude_none=True)
    except ValidationError as error:
        raise LaunchError(f"{SCENARIO}: {flow.topic} {flow.name} has an invalid body: {error}") from error
