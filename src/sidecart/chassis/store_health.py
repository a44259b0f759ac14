"""The health of the store, derived from calls: healthy, unreachable, or refusing writes."""

from __future__ import annotations

import asyncio
import logging

import msgspec

from sidecart.chassis.connections import Answer

log = logging.getLogger(__name__)

REASON_CHARACTERS_MAX = 200


class StoreHealth:
    """Records the result of each store call and reports whether the app can work.

    A successful read proves nothing about writes: after a failed write, only a successful write
    makes the store healthy again.
    """

    def __init__(self) -> None:
        self.is_unreachable = False
        self.write_refusal = ""  # the reason of the store; empty while writes work
        self.has_written = False  # at least one write has succeeded
        self._write_failed = False
        self.needs_probe = asyncio.Event()  # `HttpSidecar.watch_store` waits for it
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
        self.has_written = True

    def failed(self, *, is_write: bool) -> None:
        """Record a call that failed or got no answer."""
        self.is_unreachable = True
        self._write_failed |= is_write
        self.needs_probe.set()

    def refused(self, answer: Answer) -> None:
        """Record that the store answers reads but refused the probe write."""
        if not self.write_refusal:
            log.error("the store refuses writes: %s", answer)
        self.write_refusal = _reason(answer)
        self.is_unreachable = self._write_failed = False
        self.needs_probe.set()


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
