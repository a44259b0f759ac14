"""The health of the store, derived from calls and probes: healthy, unreachable, or refusing writes.

While the store is known to be healthy, a successful call changes nothing. The sidecar client then
skips `read` and `written`.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

import msgspec

from sidecart.chassis.connections import Answer
from sidecart.chassis.errors import SidecarUnavailable, SidecarUnreachable
from sidecart.chassis.sidecar_api import PROBE_KEY

log = logging.getLogger(__name__)

SAVED = (200, 201, 204)
"""The statuses of a successful write."""
REASON_CHARACTERS_MAX = 200

PROBE_SECONDS_MAX = 2.0  # for each of the two calls; a sidecar may retry a refused write
UNREACHABLE_SECONDS = 1.0  # between two probes
REFUSED_SECONDS = 2.0
START_SECONDS = 0.2


class Api(Protocol):
    """The calls of a probe; each raises SidecarUnavailable."""

    async def get(self, key: str, seconds_max: float) -> Answer:
        """Load a record."""

    async def put_probe(self, seconds_max: float) -> Answer:
        """Write the probe record."""


class StoreHealth:
    """Records the result of each store call and reports whether the app can work.

    A successful read proves nothing about writes: after a failed write, only a successful write
    makes the store healthy again.
    """

    def __init__(self) -> None:
        self.is_unreachable = False
        self.write_refusal = ""  # the reason of the store; empty while writes work
        self.has_written = False  # at least one write has succeeded
        self.is_certain = False  # known to be healthy, reads and writes
        self._write_failed = False
        self.needs_probe = asyncio.Event()  # `StoreProbe.watch` waits for it
        self.needs_probe.set()  # no write has succeeded yet

    @property
    def problem(self) -> str:
        """Return the current problem as text, or an empty string."""
        if self.write_refusal:
            return f"the store refuses writes: {self.write_refusal}"
        if self.is_unreachable:
            return "the store is unreachable"
        return "" if self.has_written else "no write to the store worked yet"

    @property
    def write_problem(self) -> str:
        """Return the problem with writes alone, or an empty string.

        It leaves out an unreachable store, which each call detects on its own.
        """
        return "" if self.has_written and not self.write_refusal else self.problem

    @property
    def is_healthy(self) -> bool:
        """Return whether the app can accept events: no problem with the store is known."""
        return not self.is_unreachable and not self.write_refusal

    def read(self) -> None:
        """Record a successful read."""
        if not self._write_failed:
            self.is_unreachable = False

    def written(self) -> None:
        """Record a successful write."""
        if self.write_refusal:
            log.info("the store accepts writes again")
        self.write_refusal = ""
        self.is_unreachable = self._write_failed = False
        self.has_written = self.is_certain = True

    def failed(self, *, is_write: bool) -> None:
        """Record a call that failed or got no answer."""
        self.is_unreachable = True
        self.is_certain = False
        self._write_failed |= is_write
        self.needs_probe.set()

    def refused(self, answer: Answer) -> None:
        """Record that the store answers reads but refused the probe write."""
        if not self.write_refusal:
            log.error("the store refuses writes: %s", answer)
        self.write_refusal = _reason(answer)
        self.is_unreachable = self._write_failed = self.is_certain = False
        self.needs_probe.set()


class StoreProbe:
    """Probes the store, and records the results in its health."""

    def __init__(self, health: StoreHealth, api: Api) -> None:
        self._health = health
        self._api = api
        self._probing = asyncio.Lock()

    async def answers(self, seconds_max: float = PROBE_SECONDS_MAX) -> bool:
        """Probe the store with one write and one read, and return whether it is healthy.

        Each of the two calls may take `seconds_max`.
        """
        try:
            written = await self._api.put_probe(seconds_max)
            read = await self._api.get(PROBE_KEY, seconds_max)
        except SidecarUnavailable as fault:
            # At startup the sidecar may not run yet; it checks the health of this app as soon as it
            # does.
            if self._health.has_written or not isinstance(fault, SidecarUnreachable):
                self._health.failed(is_write=True)
            return False
        if written.status in SAVED:
            self._health.written()
        if read.status not in (200, 204):
            self._health.failed(is_write=written.status not in SAVED)
        elif written.status not in SAVED:
            self._health.refused(written)
        return self._health.is_healthy

    async def takes_writes(self) -> bool:
        """Return whether the store accepts the probe write.

        Writes that are refused at the same time share one probe.
        """
        self._health.needs_probe.set()  # if the caller is canceled, `watch` probes instead
        async with self._probing:
            return not self._health.write_refusal and await self.answers()

    async def watch(self) -> None:
        """Probe the store at startup, and after a failure until a write succeeds.

        It runs until it is canceled.
        """
        pause = START_SECONDS
        while True:
            await self._health.needs_probe.wait()
            while not await self.answers():  # noqa: ASYNC110  # a store does not announce its recovery
                await asyncio.sleep(REFUSED_SECONDS if self._health.write_refusal else pause)
            self._health.needs_probe.clear()
            pause = UNREACHABLE_SECONDS


class _Error(msgspec.Struct):
    message: str = ""


def _reason(answer: Answer) -> str:
    """Return the store's own message, on one line and truncated.

    The sidecar's prefix `failed saving state in state store <name>: ` is removed.
    """
    try:
        message = msgspec.json.decode(answer.body, type=_Error).message
    except msgspec.DecodeError:
        message = ""
    reason = message.partition("failed saving state in state store ")[2].partition(": ")[2] or message
    return " ".join((reason or str(answer)).split())[:REASON_CHARACTERS_MAX]
