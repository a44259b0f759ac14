"""The undelivered and unacknowledged events of a broker, by its own count."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backlog:
    """One consumer's events of one topic at a broker. An unknown consumer keeps its full name."""

    consumer: str
    topic: str
    undelivered: int
    """Events not delivered yet."""
    pending: int
    """Events delivered but not acknowledged."""
