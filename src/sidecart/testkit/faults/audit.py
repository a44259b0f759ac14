"""The result of one audit: the counts and the findings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Audit:
    """The counts and findings of one audit; an empty `findings` means a correct system."""

    findings: list[str] = field(default_factory=list)
    valid: int = 0
    accepted: int = 0
    created: int = 0
    pending: int = 0
    lost: int = 0
    side_effects: int = 0
    repeats: int = 0
    """Side effects that happened more than once."""
    dead_letters: int = 0
    planted: int = 0
    """Planted messages that cannot be parsed; only these may have dead letters."""
    counts: dict[str, int] = field(default_factory=dict)
    """The counts of the project's bookkeeping, by the heading of their column in the report."""
    missing: dict[str, int] = field(default_factory=dict)
    """Missing results of accepted requests in services that their callers do not wait for."""
    rest_seconds: float = 0.0
    lost_keys: list[str] = field(default_factory=list)
    """Idempotency-Keys of accepted requests without a final result."""
    repeats_at: list[float] = field(default_factory=list)

    def find(self, what: str, some: Sequence[Any] = ()) -> None:
        """Add a finding, with up to three examples."""
        examples = f": {', '.join(map(str, some[:3]))}{' ...' if len(some) > 3 else ''}" if some else ""
        self.findings.append(f"{len(some)} {what}{examples}" if some else what)
