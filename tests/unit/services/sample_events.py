"""Sample ids and a builder of received events for the tests of the steps."""

from datetime import UTC, datetime
from typing import TypeVar

from sidecart.chassis.events import Received

E = TypeVar("E")

USER = "00000000-0000-4000-8000-00000000000a"
OTHER = "00000000-0000-4000-8000-00000000000b"
ORDER = "00000000-0000-4000-8000-0000000000c1"
DEPOSIT = "00000000-0000-4000-8000-0000000000d1"
COMMAND = "00000000-0000-4000-8000-0000000000e1"
ANOTHER = "00000000-0000-4000-8000-0000000000e2"
EVENT = "00000000-0000-4000-8000-0000000000f1"
NOON = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


def received(event: E, command_id: str = COMMAND, at: datetime = NOON) -> Received[E]:
    """Return the event as the event processor passes it to a step."""
    return Received(event, EVENT, command_id, at)
