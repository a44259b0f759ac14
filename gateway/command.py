"""A command: what a request asks of a service, as it goes to the broker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from chassis import tracing
from chassis.events import CloudEvent, timestamp
from chassis.serve import now
from gateway.ids import command_id


@dataclass(frozen=True, slots=True)
class Command:
    """The event to publish, and where what it makes will be found."""

    id: str
    topic: str
    location: str
    event: bytes

    @property
    def resource(self) -> str:
        """The id of what it makes."""
        return resource_of(self.location)


def resource_of(location: str) -> str:
    """The last id in a location is the resource's."""
    return location.rpartition("/")[2]


def build_command(topic: str, resource: str, location: str, body: dict[str, Any], ids: dict[str, str]) -> Command:
    """Build the command; its id is made of the resource and the body, its data is both."""
    made = command_id(resource, body)
    traceid, traceparent = tracing.attributes()
    event = CloudEvent(
        id=made,
        type=topic,
        source="gateway",
        subject=resource,
        correlationid=made,
        time=timestamp(now()),
        data=msgspec.Raw(msgspec.json.encode({**ids, **body})),
        traceid=traceid,
        traceparent=traceparent,
    )
    return Command(made, topic, location, msgspec.json.encode(event))
