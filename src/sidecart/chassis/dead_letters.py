"""Dead letters: events that can never succeed, stored with their reason in the service's own state.

The key `dead:<event id>` holds one dead letter. `dead-index:<n>` (n = 0, 1, ...) holds the ids of
up to 100 of them, oldest first. Replaying or discarding a dead letter sets its `status` field; a
dead letter without a status is open. The status `erased` is final: the event is gone.

A replayed event has the attribute `replay`. The tool that publishes it sets the status `replaying`,
and only the service knows how the replay ends: it sets `replayed`, or opens the dead letter again.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Callable, Mapping
from datetime import datetime

import msgspec

from sidecart.chassis import personal_events
from sidecart.chassis.events import timestamp
from sidecart.chassis.paged_index import PagedIndex
from sidecart.chassis.store import Store, update
from sidecart.chassis.telemetry.metrics import DEAD_LETTERS

EVENT_BYTES_MAX = 960 * 1024  # of an event, encoded as a JSON string; a longer one is truncated
ESCAPE_BYTES_MAX = 6  # the longest encoding of one character in JSON
RAW_BYTES_MAX = EVENT_BYTES_MAX // 4 * 3  # of an event stored in base64; a longer one is truncated
REASON_CHARS_MAX = 1_000
LOADED_MAX = 10  # dead letters read at once: each may have 1 MiB
OPEN = "open"
REPLAYING = "replaying"
REPLAYED = "replayed"
ERASED = "erased"
SETTLED = (REPLAYED, "discarded")
NO_ID = uuid.UUID("5f0c6f8e-62a4-5a36-9c6b-6f1f3d0a2f11")  # UUID namespace for events without an id


class _Id(msgspec.Struct):
    id: uuid.UUID


def letter_id(topic: str, body: bytes) -> str:
    """Return the event's own id, or an id derived from its bytes if it has none.

    The derived id makes a repeated event the same dead letter.
    """
    try:
        return str(msgspec.json.decode(body, type=_Id).id)
    except (ValueError, RecursionError):
        return str(uuid.uuid5(NO_ID, f"{topic}{base64.b64encode(body).decode()}"))


def _event_fields(body: bytes) -> dict[str, str]:
    """Return the event as text, or in base64 if it is not UTF-8; truncated if it is too long."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return {"event_base64": base64.b64encode(body[:RAW_BYTES_MAX]).decode()}
    if len(msgspec.json.encode(text)) > EVENT_BYTES_MAX:
        text = text[: EVENT_BYTES_MAX // ESCAPE_BYTES_MAX]
    return {"event": text}


class DeadLetters:
    """Writes the dead letters of one service."""

    def __init__(self, store: Store, now: Callable[[], datetime]) -> None:
        self._store = store
        self._now = now
        self._index = PagedIndex(store, "dead-index")

    async def write(self, topic: str, body: bytes, reason: str, traceparent: str) -> None:
        """Store one event as a dead letter; raise TransientError.

        Writing the same event again changes nothing while its dead letter is open.
        """
        name = letter_id(topic, body)
        letter = {
            **_event_fields(body),
            "topic": topic,
            "reason": reason[:REASON_CHARS_MAX],
            "time": timestamp(self._now()),
            "traceparent": traceparent,
        }
        is_new = await self._store.insert(f"dead:{name}", msgspec.json.encode(letter))
        if is_new or await self._open_again(f"dead:{name}", letter):
            DEAD_LETTERS.labels(topic).inc()
        await self._index.add(name, is_new=is_new)  # an existing id may be on any page

    async def _open_again(self, key: str, letter: dict[str, str]) -> bool:
        """Overwrite a replayed or discarded dead letter with `letter`, which opens it again.

        Return False if the stored one is open or erased.
        """

        def reopen(value: bytes | None) -> tuple[bytes | None, bool]:
            stored = {} if value is None else msgspec.json.decode(value, type=dict[str, str])
            if value is not None and stored.get("status", OPEN) in (OPEN, ERASED):
                return None, False
            reopened = {
                **letter,
                "first_time": stored.get("first_time") or stored.get("time") or letter["time"],
                "traceparent": letter["traceparent"] or stored.get("traceparent", ""),
            }
            return msgspec.json.encode(reopened), True

        return await update(self._store, key, reopen)

    async def settle(self, topic: str, body: bytes) -> None:
        """Mark the dead letter of a replayed event as replayed; raise TransientError.

        One that is open stays: the event has failed again since.
        """

        def settled(value: bytes | None) -> tuple[bytes | None, None]:
            letter = {} if value is None else _letter(value)
            if letter.get("status") != REPLAYING:
                return None, None
            changed = {**letter, "status": REPLAYED, "status_time": timestamp(self._now())}
            return msgspec.json.encode(changed), None

        await update(self._store, f"dead:{letter_id(topic, body)}", settled)

    async def erase(self, id_: str, personal: Mapping[str, str]) -> None:
        """Erase the events that may be about a person; raise TransientError.

        `personal` has the topics with personal data, each with its field for the id. Their events
        are erased unless they name another person. Of other topics, those that name the id and are
        replayed or discarded are erased. The dead letters stay without their events. Call this
        rarely: it reads every dead letter.
        """
        names = await self._index.ids()
        for start in range(0, len(names), LOADED_MAX):
            keys = [f"dead:{name}" for name in names[start : start + LOADED_MAX]]
            for key, value in zip(keys, await self._store.load_many(keys), strict=True):
                if value is not None and _may_be_about(_letter(value), id_, personal):
                    await update(self._store, key, self._erased)

    def _erased(self, value: bytes | None) -> tuple[bytes | None, None]:
        letter = {} if value is None else _letter(value)
        if letter.get("status") == ERASED:
            return None, None
        kept = {name: text for name, text in letter.items() if name != "event_base64"}
        # The part after the first colon may quote the event.
        reason = letter.get("reason", "").partition(": ")[0]
        status_time = timestamp(self._now())
        return msgspec.json.encode(
            {**kept, "event": "", "reason": reason, "status": ERASED, "status_time": status_time}
        ), None


def _letter(value: bytes) -> dict[str, str]:
    return msgspec.json.decode(value, type=dict[str, str])


def _may_be_about(letter: dict[str, str], id_: str, personal: Mapping[str, str]) -> bool:
    """Return whether a dead letter holds an event that an erasure of the id removes."""
    event = letter.get("event", "").encode() or base64.b64decode(letter.get("event_base64", ""))
    field = personal.get(letter.get("topic", ""))
    if field is not None:
        return not personal_events.is_of_another(event, id_, field)
    return letter.get("status") in SETTLED and personal_events.names(event, id_)
