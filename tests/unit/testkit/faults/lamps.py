"""A project whose requests create lamps: its ledger and its bookkeeping."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sidecart.testkit.faults.audit import Audit
from sidecart.testkit.faults.bookkeeping import Missing, RepeatRules, SideEffect
from sidecart.testkit.faults.ledger import Intent, Ledger
from sidecart.testkit.faults.reader import Answer, Reader

ROUTE = "/lamp/create"
RULES = RepeatRules("blink", ("lighter", "postgres"), explained_seconds=45.0, per_fault_max=14)


@dataclass
class LampBooks:
    """Each lamp blinks once when it is lit."""

    blinks: list[SideEffect] = field(default_factory=list)
    recorded_topics = ("LampLit",)
    main_route = ROUTE
    repeat_rules = RULES

    def is_final(self, intent: Intent, answer: Answer) -> bool:
        """Return whether the lamp is lit."""
        return answer.status == 200 and answer.body["is_lit"] is True

    def side_effect_of(self, intent: Intent) -> str | None:
        """Return the id of the lamp's blink."""
        return f"blink of {intent.resource}"

    def side_effects(self) -> Sequence[SideEffect]:
        """Return the blinks."""
        return self.blinks

    def missing(self, accepted: Iterable[Intent]) -> Iterable[Missing]:
        """Return nothing: there is only one service."""
        return []

    def check(
        self,
        audit: Audit,
        found: Sequence[tuple[Intent, Answer]],
        events: Sequence[tuple[str, bytes]],
        reader: Reader,
    ) -> None:
        """Count the lamps."""
        audit.counts["lamps"] = len(found)


def three_lamps(folder: Path) -> Ledger:
    """Return a ledger of three requests: answered before a fault at 100 s, held during it, sent
    after it.
    """
    made = Ledger(folder / "ledger.jsonl")
    for key, asked, answered in (("before", 90.0, 95.0), ("over", 99.0, 107.0), ("after", 101.0, 103.5)):
        intent = made.intend(key, ROUTE, {})
        made.answered(intent, 201, {"location": f"/lamp/{key}"}, {})
        intent.asked_at, intent.answered_at = asked, answered
    made.close()
    return made
