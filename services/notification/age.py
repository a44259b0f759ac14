"""The age of an EmailRequested: an old one may have waited while its user was erased."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec

FRESH = timedelta(seconds=5)
"""A younger event is sent without a look at the mailbox, which costs one more read. So a mail that
was requested at most this long before the erasure may still be sent.
"""


class _Event(msgspec.Struct):
    time: datetime


def is_fresh(body: bytes, now: datetime) -> bool:
    """Return whether an event is fresh; the clocks of machines differ in both directions."""
    try:
        made_at = msgspec.json.decode(body, type=_Event).time
    except ValueError:
        return False
    return abs(now - (made_at if made_at.tzinfo else made_at.replace(tzinfo=UTC))) < FRESH
