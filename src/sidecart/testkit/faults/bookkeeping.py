"""The project's part of an audit: facts about its own requests and their results."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from sidecart.testkit.faults.audit import Audit
from sidecart.testkit.faults.ledger import Intent
from sidecart.testkit.faults.reader import Answer, Reader


@dataclass(frozen=True, slots=True)
class Missing:
    """A result that an accepted request should have, and that does not exist."""

    what: str
    intent: Intent


@dataclass(frozen=True, slots=True)
class SideEffect:
    """One effect on a server outside the project, in seconds of the wall clock."""

    id: str
    at: float


@dataclass(frozen=True, slots=True)
class RepeatRules:
    """The faults that explain a repeated side effect."""

    name: str
    """The word for one side effect in findings."""
    explained_by: tuple[str, ...]
    """Processes, by prefix of the name, whose death or pause can come between a side effect and the
    record of it.
    """
    explained_seconds: float
    """How long after the end of a fault it explains a repeat."""
    per_fault_max: int


class Bookkeeping(Protocol):
    """The project's part of an audit."""

    @property
    def recorded_topics(self) -> Sequence[str]:
        """The topics whose events the broker records for `check`."""

    @property
    def main_route(self) -> str:
        """The route whose held requests the report counts."""

    @property
    def repeat_rules(self) -> RepeatRules:
        """The faults that explain a repeated side effect."""

    def is_final(self, intent: Intent, answer: Answer) -> bool:
        """Return whether the answer shows the final result of the request."""

    def side_effect_of(self, intent: Intent) -> str | None:
        """Return the id of the side effect that a final request must have, or None."""

    def side_effects(self) -> Sequence[SideEffect]:
        """Return all side effects so far.

        Raise OSError or httpx.HTTPError if they cannot be read.
        """

    def missing(self, accepted: Iterable[Intent]) -> Iterable[Missing]:
        """Yield the missing results in services that callers do not wait for.

        Raise httpx.HTTPError if a record cannot be read.
        """

    def check(
        self,
        audit: Audit,
        found: Sequence[tuple[Intent, Answer]],
        events: Sequence[tuple[str, bytes]],
        reader: Reader,
    ) -> None:
        """Add the findings and counts of the project.

        `found` has the resource of each request with a location, `events` the recorded ones.
        """
