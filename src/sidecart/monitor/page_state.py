"""The state that the page shows; it notifies viewers of each change."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sidecart.chassis.currency import DEFAULT, Currency
from sidecart.monitor.dead_letters import DeadLetterSummary
from sidecart.monitor.description import Description
from sidecart.monitor.event import Event
from sidecart.monitor.flow import Call, Change
from sidecart.monitor.flows import Flows
from sidecart.monitor.health import Health
from sidecart.monitor.resources import Resource, Resources

MAILS_SHOWN = 50
CREATED = 201
Notify = Callable[[str, Any], None]

OFF, OPENING, ON, FAILED = "off", "opening", "on", "failed"


class PageState:
    """The page's state; each change sends one notice."""

    def __init__(
        self,
        about: Mapping[str, Any],
        description: Description,
        notify: Notify,
        now_ms: Callable[[], float],
        currency: Currency = DEFAULT,
    ) -> None:
        self._about = about
        self._notify = notify
        self._now_ms = now_ms
        self._resources = Resources(description)
        self._flows = Flows(description, self._resources, currency)
        self._mails: deque[Mapping[str, Any]] = deque(maxlen=MAILS_SHOWN)
        self._health: Sequence[Health] = ()
        self._dead_letters: DeadLetterSummary | str = DeadLetterSummary(0, [])
        self._tap: Mapping[str, str] = {"state": OFF, "why": ""}

    def snapshot(self) -> Mapping[str, Any]:
        """The complete state."""
        return {
            "about": self._about,
            "flows": self._flows.all(),
            "resources": self._resources.all(),
            "mails": list(self._mails),
            "health": self._health,
            "dead_letters": self._dead_letters,
            "tap": self._tap,
        }

    def add_event(self, event: Event) -> None:
        """Add an event from the broker."""
        self._notify_resource(self._resources.of_event(event))
        self._notify_changes(self._flows.add_event(event, self._now_ms()))

    def add_request(self, call: Call) -> None:
        """Add a request that went through the page to the gateway, with its response."""
        if call.status == CREATED:
            self._notify_resource(self._resources.of_answer(call.resource, call.answer))
        self._notify_changes(self._flows.add_request(call))

    def add_mails(self, mails: Sequence[Mapping[str, Any]]) -> None:
        """Add mails that the mail server accepted, oldest first."""
        self._mails.extend(mails)
        self._notify("mails", mails[-MAILS_SHOWN:])
        for mail in mails:
            self._notify_changes(self._flows.add_mail(mail))

    def set_health(self, health: Sequence[Health]) -> None:
        """Store the result of a health poll."""
        if health != self._health:
            self._health = health
            self._notify("health", health)

    def set_dead_letters(self, dead_letters: DeadLetterSummary | str) -> None:
        """Store the dead letters; a string is the reason why they could not be read."""
        if dead_letters != self._dead_letters:
            self._dead_letters = dead_letters
            self._notify("dead_letters", dead_letters)

    def set_tap(self, state: str, why: str = "") -> None:
        """Store the state of the tap."""
        tap = {"state": state, "why": why}
        if tap != self._tap:
            self._tap = tap
            self._notify("tap", tap)

    def _notify_changes(self, changes: Iterable[Change]) -> None:
        for change in changes:
            self._notify("step", change)

    def _notify_resource(self, resource: Resource | None) -> None:
        if resource is not None:
            self._notify("resource", resource)
