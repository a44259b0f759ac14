"""Mutants of the shop's erasure, each without one safeguard; every one must fail the simulation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from services.notification.domain import Mailbox
from services.notification.events import UserCreated as Contact
from services.user.domain import User
from services.user.events import UserCreateRequested, UserEraseRequested
from sidecart.chassis.events import Received
from sidecart.chassis.service import Step
from sidecart.chassis.speculation import SpeculativeProcessor
from sidecart.testkit.simulation.world import Setup


class LateUserCreated(SpeculativeProcessor[Any, Any]):
    """Saves the contact of a UserCreated that arrives after the erasure."""

    def _decide(self, state: Any, secondary: Any, received: Received[Any]) -> Step[Any]:
        if isinstance(state, Mailbox) and state.erased and isinstance(received.event, Contact):
            state = replace(state, erased=False)
        return super()._decide(state, secondary, received)


class LateRegistration(SpeculativeProcessor[Any, Any]):
    """Registers an erased user again when the command is delivered once more."""

    def _decide(self, state: Any, secondary: Any, received: Received[Any]) -> Step[Any]:
        if isinstance(received.event, UserCreateRequested) and isinstance(secondary, User):
            secondary = None
        return super()._decide(state, secondary, received)


class ErasureOnlySavedIfChanged(SpeculativeProcessor[Any, Any]):
    """Erases without a save when there is no state, so a concurrent registration is not noticed."""

    async def _attempt(self, key: str, received: Received[Any]) -> None:
        if isinstance(received.event, UserEraseRequested):
            record, _ = await self._load(key)
            if bytes(record.state) == b"null":
                step = self._decide(None, None, received)
                await self._outbox.perform(self._outbox.entry(step, received))
                return
        await super()._attempt(key, received)


ERASURE_MUTANTS: Mapping[str, Setup] = {
    "a late UserCreated brings the contact back": Setup(make_processor=LateUserCreated),
    "a late registration brings the user back": Setup(make_processor=LateRegistration),
    "an erasure without a state is not saved": Setup(make_processor=ErasureOnlySavedIfChanged),
}
"""The mutants by name."""
