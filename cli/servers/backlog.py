"""What a broker still has to do, by its own count."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backlog:
    """What a broker still holds for one consumer of one topic; a name that is no consumer's of ours is kept whole."""

    consumer: str
    topic: str
    undelivered: int
    """Not handed out yet."""
    pending: int
    """Handed out and not acknowledged."""
