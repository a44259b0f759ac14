"""Decide whether a stored event with personal data may be about a person.

A dead letter holds what a publisher sent: any bytes, perhaps cut. So an event counts as another
person's only if it is complete, and its field for the id has a UUID.
"""

from __future__ import annotations

import re
import uuid
from typing import Any

import msgspec

_ESCAPE = re.compile(r"\\+u([0-9a-fA-F]{4})")
_IGNORED = {0: None, ord("-"): None}
"""The zero bytes of UTF-16, and the hyphens of a UUID."""


class _Event(msgspec.Struct):
    data: dict[str, Any]


def names(event: bytes, id_: str) -> bool:
    """Return whether an event has an id, in any case, as JSON escapes, or without hyphens."""
    return _plain(id_) in _plain(event.decode(errors="ignore"))


def is_of_another(event: bytes, id_: str, field: str) -> bool:
    """Return whether an event names another person in this field of its data, and not this one."""
    try:
        other = msgspec.json.decode(event, type=_Event).data.get(field)
        uuid.UUID(other)
    except (ValueError, TypeError, AttributeError, RecursionError):
        return False
    return not names(event, id_)


def _plain(text: str) -> str:
    unescaped = _ESCAPE.sub(lambda escape: chr(int(escape[1], 16)), text)
    return unescaped.translate(_IGNORED).casefold()
