"""Erasure: an event erases the data of a person in the record, then everywhere else.

The event processor erases the record and its secondary records. This module then erases the dead
letters and, by a function of the service, further copies. All of it may be repeated.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from sidecart.chassis.dead_letters import DeadLetters
from sidecart.chassis.processor import EventProcessor
from sidecart.chassis.service import Service

Erase = Callable[[str], Awaitable[None]]
"""Erases the data of the person with this id; raises TransientError."""


class _Event(msgspec.Struct):
    data: dict[str, Any]


class ErasingProcessor:
    """Processes the events that erase data, and completes each erasure."""

    def __init__(
        self,
        service: Service[Any, Any],
        processor: EventProcessor[Any, Any],
        dead_letters: DeadLetters,
        erase_more: Erase | None,
    ) -> None:
        self._service = service
        self._processor = processor
        self._dead_letters = dead_letters
        self._erase_more = erase_more

    async def process(self, topic: str, body: bytes) -> None:
        """Process an event of `Service.erasures`; raise PermanentError or TransientError.

        The record comes first: whatever is written later finds the erased record.
        """
        await self._processor.process(topic, body)
        person = msgspec.json.decode(body, type=_Event).data[self._service.erasures[topic]]
        await self._dead_letters.erase(person, self._service.personal)
        if self._erase_more is not None:
            await self._erase_more(person)
