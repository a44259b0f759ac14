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
from sidecart.monitor.group_run import Progress
from sidecart.monitor.health import Health
from sidecart.monitor.history import History, SeenEvent
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
        *,
        is_open: bool = True,
        forgot: Callable[[], None] = lambda: None,
    ) -> None:
        """Without `is_open`, notices do not show dead letters: only operators may read them.

        `forgot` is called when earlier notices have become wrong, because data were erased.
        """
        self._about = about
        self._notify = notify
        self._now_ms = now_ms
        self._resources = Resources(description)
        self._erased = self._resources.erased
        self._forgot = forgot
        self._flows = Flows(description, self._resources, currency)
        self._mails: deque[Mapping[str, Any]] = deque(maxlen=MAILS_SHOWN)
        self._health: Sequence[Health] = ()
        self._dead_letters: DeadLetterSummary | str = DeadLetterSummary(0, [], [])
        self._is_open = is_open
        self._changes = 0
        self._group_run: Progress | None = None
        self._history = History()
        self._tap: Mapping[str, str] = {"state": OFF, "why": ""}

    def snapshot(self) -> Mapping[str, Any]:
        """The complete state."""
        return {
            "about": self._about,
            "flows": self._flows.all(),
            "resources": self._resources.all(),
            "mails": list(self._mails),
            "health": self._health,
            "dead_letters": self._shown_dead_letters(),
            "group_run": self._group_run,
            "tap": self._tap,
        }

    @property
    def dead_letters(self) -> DeadLetterSummary | str:
        """The newest summary, or the reason why there is none."""
        return self._dead_letters

    def history_of(self, id_: str) -> list[SeenEvent]:
        """Return the events of an id that the tap has seen."""
        return self._history.of(id_)

    def add_event(self, event: Event) -> None:
        """Add an event from the broker; one that erases a person makes the page forget them."""
        self._history.add(event)
        self._notify_resource(self._resources.of_event(event))
        self._notify_changes(self._flows.add_event(event, self._now_ms()))
        if person := self._erased.add(event):
            self._forget(person)
        elif self._erased.is_erased(self._erased.person_of(event.data)):  # its mail may be here already
            self._keep_mails(lambda mail: not self._flows.is_mail_of_erased(mail))

    def forget_all(self) -> None:
        """Forget everything about people, because their erasure will not be seen."""
        if self._erased.is_declared:
            self._resources.forget_all()
            self._flows.forget_all()
            self._mails.clear()

    def add_request(self, call: Call) -> None:
        """Add a request that went through the page to the gateway, with its response."""
        if call.status == CREATED:
            self._notify_resource(self._resources.of_answer(call.resource, call.answer))
        self._notify_changes(self._flows.add_request(call))

    def add_mails(self, mails: Sequence[Mapping[str, Any]]) -> None:
        """Add mails that the mail server accepted, oldest first."""
        shown = [mail for mail in mails if not self._flows.is_mail_of_erased(mail)]
        self._mails.extend(shown)
        self._notify("mails", shown[-MAILS_SHOWN:])
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
            before, self._dead_letters = self._dead_letters, dead_letters
            self._changes += 1
            if _has_erased_more(before, dead_letters):
                self._forgot()
            self._notify("dead_letters", self._shown_dead_letters())
        # Also without a change: an event of an old dead letter may have been seen since.
        if self._is_open and isinstance(dead_letters, DeadLetterSummary):
            for flow in self._flows.mark_dead_letters([each.id for each in dead_letters.newest]):
                self._notify("flow", flow)

    def set_group_run(self, progress: Progress) -> None:
        """Store the progress of the replay or discard of a group."""
        self._group_run = progress
        self._notify("group_run", progress)

    def set_tap(self, state: str, why: str = "") -> None:
        """Store the state of the tap."""
        tap = {"state": state, "why": why}
        if tap != self._tap:
            self._tap = tap
            self._notify("tap", tap)

    def _shown_dead_letters(self) -> DeadLetterSummary | str | Mapping[str, int]:
        """Return what every viewer may see; `changes` tells an operator to read again."""
        if self._is_open or isinstance(self._dead_letters, str):
            return self._dead_letters
        return {"total": self._dead_letters.total, "changes": self._changes}

    def _forget(self, person: str) -> None:
        self._resources.forget(person)
        self._keep_mails(lambda mail: self._flows.is_mail_of_another(mail, person))
        self._flows.forget(person)
        self._forgot()

    def _keep_mails(self, keeps: Callable[[Mapping[str, Any]], bool]) -> None:
        kept = [mail for mail in self._mails if keeps(mail)]
        if len(kept) < len(self._mails):
            self._mails = deque(kept, maxlen=MAILS_SHOWN)
            self._forgot()

    def _notify_changes(self, changes: Iterable[Change]) -> None:
        for change in changes:
            self._notify("step", change)

    def _notify_resource(self, resource: Resource | None) -> None:
        if resource is not None:
            self._notify("resource", resource)


def _has_erased_more(before: DeadLetterSummary | str, after: DeadLetterSummary | str) -> bool:
    """Return whether a dead letter that the page has shown was erased since then."""
    if isinstance(before, str) or isinstance(after, str):
        return False
    return sum(each.erased for each in after.groups) > sum(each.erased for each in before.groups)
