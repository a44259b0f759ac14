"""Dead letters: an event that will never get better is kept, with its reason, in the service's own state.

`dead:<event id>` holds one letter; `dead-index:<n>` (n = 0, 1, ...) holds the ids of up to 100 of them, oldest first.
Whoever replays or discards a letter writes a `status` into it; one that has none is open.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Callable
from datetime import datetime

import msgspec

from chassis.errors import Conflict, TransientError
from chassis.events import timestamp
from chassis.metrics import DEAD_LETTERS
from chassis.paged_index import PagedIndex
from chassis.processor import ATTEMPTS_MAX, Sidecar

EVENT_BYTES_MAX = 960 * 1024  # of an event, written as a JSON string; of a longer one the beginning is kept
ESCAPE_BYTES_MAX = 6  # of one character in JSON
RAW_BYTES_MAX = EVENT_BYTES_MAX // 4 * 3  # of an event that is kept in base64; of a longer one the beginning is kept
REASON_CHARS_MAX = 1_000
OPEN = "open"
NO_ID = uuid.UUID("5f0c6f8e-62a4-5a36-9c6b-6f1f3d0a2f11")  # names the letters of events that carry no id


class _Id(msgspec.Struct):
    id: uuid.UUID


def letter_id(topic: str, body: bytes) -> str:
    """The event's own id if it has one, else one made from its bytes, so that a repetition is the same letter."""
    try:
        return str(msgspec.json.decode(body, type=_Id).id)
    except (ValueError, RecursionError):
        return str(uuid.uuid5(NO_ID, f"{topic}{base64.b64encode(body).decode()}"))


def _event_fields(body: bytes) -> dict[str, str]:
    """The event as text, or in base64 if it is none: whole, if a record takes it."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return {"event_base64": base64.b64encode(body[:RAW_BYTES_MAX]).decode()}
    if len(msgspec.json.encode(text)) > EVENT_BYTES_MAX:
        text = text[: EVENT_BYTES_MAX // ESCAPE_BYTES_MAX]
    return {"event": text}


class DeadLetters:
    """Writes the dead letters of one service."""

    def __init__(self, sidecar: Sidecar, now: Callable[[], datetime]) -> None:
        self._sidecar = sidecar
        self._now = now
        self._index = PagedIndex(sidecar, "dead-index")

    async def write(self, topic: str, body: bytes, reason: str, traceparent: str) -> None:
        """Keep one event, or raise TransientError; to write the same one again changes nothing while its letter is
        open.
        """
        name = letter_id(topic, body)
        letter = {
            **_event_fields(body),
            "topic": topic,
            "reason": reason[:REASON_CHARS_MAX],
            "time": timestamp(self._now()),
            "traceparent": traceparent,
        }
        is_new = await self._sidecar.insert(f"dead:{name}", msgspec.json.encode(letter))
        if is_new or await self._open_again(f"dead:{name}", letter):
            DEAD_LETTERS.labels(topic).inc()
        await self._index.add(name, is_new=is_new)  # an old one may be on any page

    async def _open_again(self, key: str, letter: dict[str, str]) -> bool:
        """Of a letter that somebody replayed, or discarded, write what is true now; False for one that is open."""
        for _ in range(ATTEMPTS_MAX):
            value, etag = await self._sidecar.load(key)
            known = {} if value is None else msgspec.json.decode(value, type=dict[str, str])
            if value is not None and known.get("status", OPEN) == OPEN:
                return False
            reopened = {**letter, "traceparent": letter["traceparent"] or known.get("traceparent", "")}
            try:
                await self._sidecar.save(key, msgspec.json.encode(reopened), etag)
            except Conflict:
                continue
            return True
        raise TransientError(f"{key}: lost {ATTEMPTS_MAX} races in a row")
