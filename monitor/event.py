"""One event, as the tap saw it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Event:
    """What is read of it; nothing was checked, for the services judge it."""

    topic: str
    id: str
    subject: str
    correlation_id: str
    time: str
    data: dict[str, Any] = field(default_factory=dict)
