"""The accepted requests whose flows have not ended, as the gateways list them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

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

    def line(self) -> str:
        """Format the request as one line of output."""
        times = "not repeated yet" if self.attempts == 0 else f"repeated {self.attempts} times"
        return f"{self.kind:6} {self.id}  accepted {self.at}  {times}"

    def as_json(self, state: str) -> str:
        """Format the request and its state as one JSON object."""
        return json.dumps({**asdict(self), "state": state})


def stuck_path() -> str:
    """Return the path at which a gateway lists its stuck flows."""
    return f"{PATH}?older_than={STUCK_SECONDS:g}"
