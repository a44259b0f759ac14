"""The components of the sidecar that publish, and the choice of one for each publish.

Components of some brokers wait for the confirmation of one event before they send the next one.
Several components publish in parallel (ADR 74). The YAML decides how many: the sidecar reports the
components that it has loaded. Until it does, and if it does not, `pubsub` publishes alone.
"""

from __future__ import annotations

import asyncio
import logging
import re
from typing import Protocol

import msgspec

from sidecart.chassis.connections import Answer
from sidecart.chassis.errors import SidecarUnavailable
from sidecart.chassis.sidecar_api import PUBSUB

log = logging.getLogger(__name__)

COMPONENTS_MAX = 8
"""Each has a connection to the broker (ADR 74)."""
FURTHER = re.compile(rf"{PUBSUB}-([2-9]|[1-9][0-9])")
NOT_LOADED = (400, 404)
"""The sidecar's answers to a publish on a component that it does not have, by gRPC and HTTP."""
METADATA_SECONDS_MAX = 2.0
PAUSE_SECONDS = 0.5
"""The time between two questions: an app starts before its sidecar does."""


class Api(Protocol):
    """The question for the components."""

    async def metadata(self, seconds_max: float) -> Answer:
        """Return what the sidecar reports about itself, as JSON; raise SidecarUnavailable."""


def is_further(name: str) -> bool:
    """Return whether apps publish on a component of this name, if it exists, as on `pubsub`."""
    return FURTHER.fullmatch(name) is not None


class PublishComponents:
    """Chooses the component with the fewest publishes in flight, and counts them."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._in_flight = {PUBSUB: 0}  # in the sequence of their last use

    @property
    def names(self) -> tuple[str, ...]:
        """Return the components that publish."""
        return tuple(sorted(self._in_flight, key=_number))

    def begin(self) -> str:
        """Return the component of a new publish; `end` must follow.

        Of components with equally many publishes, the one that was chosen the longest ago.
        """
        counts = self._in_flight
        component = PUBSUB if len(counts) == 1 else min(counts, key=counts.__getitem__)
        counts[component] = counts.pop(component) + 1
        return component

    def end(self, component: str) -> None:
        """Count a publish as ended, with any outcome."""
        if component in self._in_flight:
            self._in_flight[component] -= 1

    def drop(self, component: str, answer: Answer) -> bool:
        """Return whether this answer to a publish means that the sidecar lacks the component.

        It is then not chosen again. A sidecar that restarts with other files can lack one.
        """
        if component == PUBSUB or answer.status not in NOT_LOADED:
            return False
        if self._in_flight.pop(component, None) is not None:
            log.warning("the sidecar does not publish on %s any more: %s", component, answer)
        return True

    async def find(self) -> None:
        """Ask the sidecar once it answers, and use the components that it has."""
        while True:
            try:
                answer = await self._api.metadata(METADATA_SECONDS_MAX)
            except SidecarUnavailable:
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            if answer.status < 500:
                break
            await asyncio.sleep(PAUSE_SECONDS)
        if answer.status != 200:
            log.warning("only %s publishes, because the sidecar does not report its components: %s", PUBSUB, answer)
            return
        try:
            found = msgspec.json.decode(answer.body, type=_Metadata).components
        except msgspec.DecodeError as error:
            log.warning("only %s publishes, because the sidecar's metadata is not readable: %s", PUBSUB, error)
            return
        further = sorted((each.name for each in found if is_further(each.name) and each.is_broker), key=_number)
        self._in_flight |= dict.fromkeys(further[: COMPONENTS_MAX - 1], 0)


def _number(name: str) -> int:
    return int(name.rpartition("-")[2]) if is_further(name) else 1


class _Component(msgspec.Struct):
    name: str
    type: str

    @property
    def is_broker(self) -> bool:
        return self.type.startswith("pubsub.")


class _Metadata(msgspec.Struct):
    components: tuple[_Component, ...] = ()
