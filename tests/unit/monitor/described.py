"""The description of the shop's page, and flows that use it."""

from __future__ import annotations

from sidecart.launcher.project import root
from sidecart.launcher.topics import app_ids, read_topics
from sidecart.monitor.description import Description, read
from sidecart.monitor.event import Event
from sidecart.monitor.flow import Change
from sidecart.monitor.flows import Flows
from sidecart.monitor.resources import Resources

DESCRIPTION = read(root(), app_ids(), read_topics())


class SeenFlows(Flows):
    """Flows that remember the resources of their events, as the page's state does."""

    def __init__(self, description: Description = DESCRIPTION) -> None:
        self.resources = Resources(description)
        super().__init__(description, self.resources)

    def add_event(self, event: Event, now_ms: float) -> list[Change]:
        """Remember the event's resource, and add the event to its flow."""
        self.resources.of_event(event)
        return super().add_event(event, now_ms)
