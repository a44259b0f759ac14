"""Commands: the events by which the gateway requests a change from a service."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from sidecart.chassis.events import CloudEvent, timestamp
from sidecart.chassis.server.serve import now
from sidecart.chassis.telemetry import tracing
from sidecart.edge.ids import command_id


@dataclass(frozen=True, slots=True)
class Command:
    """The event to publish, and the location of the resource that it creates."""

    id: str
    topic: str
    location: str
    event: bytes

    @property
    def resource(self) -> str:
        """The id of the resource that the command creates."""
        return resource_of(self.location)


def resource_of(location: str) -> str:
    """Return the id of a resource, which is the last segment of its location."""
    return location.rpartition("/")[2]


def build_command(topic: str, resource: str, location: str, body: dict[str, Any], ids: dict[str, str]) -> Command:
    """Build the command that creates a resource.

    The command's id is derived from the resource and the body. Its data is `ids` and the body.
    """
    event_id = command_id(resource, body)
    traceid, traceparent = tracing.attributes()
    event = CloudEvent(
        id=event_id,
        type=topic,
        source="gateway",
        subject=resource,
        correlationid=event_id,
        time=timestamp(now()),
        data=msgspec.Raw(msgspec.json.encode({**ids, **body})),
        traceid=traceid,
        traceparent=traceparent,
    )
    return Command(event_id, topic, location, msgspec.json.encode(event))
