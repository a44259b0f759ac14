"""The simulated broker: it loses, repeats and delays events, and drops all of them at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from sidecart.chassis.reply_topics import readdressed
from sidecart.testkit.simulation.schedule import Delivery, Schedule


@dataclass(slots=True)
class Command:
    """The command of a caller, who repeats it until the gateway answers."""

    topic: str
    id: str
    body: bytes
    attempts: int = 0
    replies: set[str] = field(default_factory=set)
    answered: bool = False
    is_accepted: bool = False
    """The caller got a 202; the gateways carry on."""
    pending_under: str = ""
    """The id of its pending record."""
    may_change: bool = False
    """Whether another command may change the reply: a repetition after an erasure is rejected."""

    @property
    def resource(self) -> str:
        """The id of the resource that the command creates."""
        subject: str = msgspec.json.decode(self.body)["subject"]
        return subject

    def addressed_to(self, reply_to: str) -> bytes:
        """Return the event with the reply address of a gateway."""
        return readdressed(self.body, reply_to)


class Broker:
    """The events on their way, and a copy of every event that was published."""

    def __init__(
        self,
        schedule: Schedule,
        consumers: Mapping[str, Sequence[str]],
        replies: Mapping[str, frozenset[str]],
        commands: Sequence[Command],
    ) -> None:
        self.queue: list[Delivery] = []
        self.published: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.copies: dict[str, list[dict[str, Any]]] = defaultdict(list)
        """The copies of replies that went to one gateway, by type."""
        self._schedule = schedule
        self._consumers = consumers
        self._replies = replies
        self._commands = commands
        self.gateways_of: Callable[[str], Sequence[str]] = lambda _topic: ()
        """Returns the gateways that read a topic."""

    def publish(self, topic: str, body: bytes, delivery: Delivery) -> None:
        """Publish an event, or lose it, alone or with the acknowledgement of its cause."""
        schedule = self._schedule
        if schedule.strikes(schedule.faults.vanish):
            delivery.ack_is_lost = True
            return
        event = msgspec.json.decode(body)
        kind = event["type"]
        (self.published if topic == kind else self.copies)[kind].append(event)
        if schedule.strikes(schedule.faults.lost):
            return
        for command in self._commands:
            if kind in self._replies[command.topic] and event["correlationid"] == command.id:
                command.replies.add(kind)
        self._deliver(topic, body)

    def send(self, command: Command, reply_to: str) -> None:
        """Publish a command with a reply address, or lose it."""
        if not self._schedule.strikes(self._schedule.faults.vanish):
            self._deliver(command.topic, command.addressed_to(reply_to))

    def take(self) -> Delivery:
        """Remove and return one of the queued events, at random."""
        return self.queue.pop(self._schedule.random.randrange(len(self.queue)))

    def _deliver(self, topic: str, body: bytes) -> None:
        for app in (*self._consumers.get(topic, ()), *self.gateways_of(topic)):
            copies = 2 if self._schedule.strikes(self._schedule.faults.duplicate) else 1
            self.queue.extend(Delivery(app, topic, body) for _ in range(copies))
