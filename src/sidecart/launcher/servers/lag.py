"""The lag of each consumer, and what a broker keeps of each topic."""

from __future__ import annotations

from dataclasses import dataclass

STALLED_SECONDS = 5.0
"""An event that a consumer has for longer counts as waiting: one takes less than a second."""


@dataclass(frozen=True, slots=True)
class ConsumerLag:
    """The events of one topic that wait for one consumer. None: the broker does not tell."""

    topic: str
    consumer: str
    waiting: int
    """Events that were not delivered yet."""
    unacknowledged: int | None = None
    """Events that were delivered, and not acknowledged."""
    oldest_seconds: float | None = None
    """The age of the oldest event that the consumer still needs."""
    stalled: int | None = None
    """Those of `unacknowledged` that are older than STALLED_SECONDS."""

    @property
    def late(self) -> int:
        """The events that wait for the consumer, delivered or not."""
        return self.waiting + (self.stalled or 0)


@dataclass(frozen=True, slots=True)
class KeptEvents:
    """The events of one topic that a broker keeps, also after every acknowledgement."""

    topic: str
    entries: int
    oldest_seconds: float


@dataclass(frozen=True, slots=True)
class BrokerLag:
    """The lag of all consumers. A broker that removes acknowledged events itself keeps none."""

    consumers: list[ConsumerLag]
    kept: list[KeptEvents]
