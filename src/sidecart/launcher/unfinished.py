"""The accepted requests whose flows have not ended, as the gateways list them."""

from __future__ import annotations

from dataclasses import dataclass

STUCK_SECONDS = 60.0
"""A flow that has not ended by then is stuck: six times the reconciler's first check."""
PATH = "/reconcile"


@dataclass(frozen=True, slots=True)
class Unfinished:
    """One accepted request, as reported by a gateway."""

    kind: str
    id: str
    at: str
    attempts: int


def stuck_path() -> str:
    """Return the path at which a gateway lists its stuck flows."""
    return f"{PATH}?older_than={STUCK_SECONDS:g}"
