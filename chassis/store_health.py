"""What the calls of this process say about the store: it works, it is away, or it reads but refuses writes."""

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
        self.is_away = False
        self.refuses = ""  # why a write of the probe was refused, in the store's words; empty while writes work
        self.is_proven = False  # a write worked once
        self._write_failed = False
        self.in_doubt = asyncio.Event()  # the watcher of the store asks it
        self.in_doubt.set()  # until the first write

    @property
    def trouble(self) -> str:
        """What is wrong, in words; empty when nothing is known to be."""
        if self.refuses:
            return f"the store refuses writes: {self.refuses}"
        if self.is_away:
            return "the store is away"
        return "" if self.is_proven else "no write to the store worked yet"

    @property
    def write_trouble(self) -> str:
        """What is wrong with writes alone: that the store is away is left out, for each call finds that out anew."""
        return "" if self.is_proven and not self.refuses else self.trouble

    @property
    def is_well(self) -> bool:
        """Whether the app can take events: nothing is known to be wrong."""
        return not self.is_away and not self.refuses

    def read(self) -> None:
        """Note that a read worked."""
        if not self._write_failed:
            self.is_away = False

    def written(self) -> None:
        """Note that a write worked."""
        if self.refuses:
            log.info("the store takes writes again")
        self.refuses = ""
        self.is_away = self._write_failed = False
        self.is_proven = True

    def failed(self, *, is_write: bool) -> None:
        """Note that a call failed or was not answered."""
        self.is_away = True
        self._write_failed |= is_write
        self.in_doubt.set()

    def refused(self, answer: Answer) -> None:
        """Note that the store reads, and refused to write what it always can."""
        if not self.refuses:
            log.error("the store refuses writes: %s", answer)
        self.refuses = _words(answer)
        self.is_away = self._write_failed = False
        self.in_doubt.set()


class _Error(msgspec.Struct):
    message: str = ""


def _words(answer: Answer) -> str:
    """The store's own words, without the sidecar's `failed saving state in state store <name>: ` before them."""
    try:
        message = msgspec.json.decode(answer.body, type=_Error).message
    except msgspec.DecodeError:
        message = ""
    said = message.partition("failed saving state in state store ")[2].partition(": ")[2] or message
    return " ".join((said or str(answer)).split())[:REASON_CHARACTERS_MAX]
