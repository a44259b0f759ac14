"""An event as the tap receives it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Event:
    """The fields that the page uses; their values are not validated, since services do that."""

    topic: str
    id: str
    subject: str
    correlation_id: str
    time: str
    data: dict[str, Any] = field(default_factory=dict)
