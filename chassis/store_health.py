"""What the calls of this process say about the store: it works, it is unreachable, or it reads but refuses writes."""

from __future__ import annotations

import asyncio
import logging

import msgspec

from chassis.connections import Answer

log = logging.getLogger(__name__)

REASON_CHARACTERS_MAX = 200


class StoreHealth:
    """Is told how each call ended, and says whether the app can do its work.

    A read that works proves nothing about writes: after a write that failed, only a write that works counts.
    """

    def __init__(self) -> None:
        self.is_unreachable = False
        self.write_refusal = ""  # why a write of the probe was refused, in the store's words; empty while writes work
        self.has_written = False  # a write worked once
        self._write_failed = False
        self.needs_probe = asyncio.Event()  # the watcher of the store asks it
        self.needs_probe.set()  # until the first write

    @property
    def problem(self) -> str:
        """What is wrong, in words; empty when nothing is known to be."""
        if self.write_refusal:
            return f"the store refuses writes: {self.write_refusal}"
        if self.is_unreachable:
            return "the store is unreachable"
        return "" if self.has_written else "no write to the store worked yet"

    @property
    def write_problem(self) -> str:
        """What is wrong with writes alone: that the store is unreachable is left out, for each call finds that out
        anew.
        """
        return "" if self.has_written and not self.write_refusal else self.problem

    @property
    def is_healthy(self) -> bool:
        """Whether the app can take events: nothing is known to be wrong."""
        return not self.is_unreachable and not self.write_refusal

    def read(self) -> None:
        """Note that a read worked."""
        if not self._write_failed:
            self.is_unreachable = False

    def written(self) -> None:
        """Note that a write worked."""
        if self.write_refusal:
            log.info("the store takes writes again")
        self.write_refusal = ""
        self.is_unreachable = self._write_failed = False
        self.has_written = True

    def failed(self, *, is_write: bool) -> None:
        """Note that a call failed or was not answered."""
        self.is_unreachable = True
        self._write_failed |= is_write
        self.needs_probe.set()

    def refused(self, answer: Answer) -> None:
        """Note that the store reads, and refused to write what it always can."""
        if not self.write_refusal:
            log.error("the store refuses writes: %s", answer)
        self.write_refusal = _reason(answer)
        self.is_unreachable = self._write_failed = False
        self.needs_probe.set()


class _Error(msgspec.Struct):
    message: str = ""


def _reason(answer: Answer) -> str:
    """The store's own words, without the sidecar's `failed saving state in state store <name>: ` before them."""
    try:
        message = msgspec.json.decode(answer.body, type=_Error).message
    except msgspec.DecodeError:
        message = ""
    reason = message.partition("failed saving state in state store ")[2].partition(": ")[2] or message
    return " ".join((reason or str(answer)).split())[:REASON_CHARACTERS_MAX]
