"""Pacing: a user gets a limited number of mails in an hour; excess mails wait.

The mailbox keeps the due times of its newest mails. So the decision needs no call of the store of
its own, survives a restart, and holds for all replicas: it is part of the save of the mailbox.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

HOUR_SECONDS = 3600
PER_HOUR = 30  # a person who orders by hand never reaches it
PER_HOUR_MAX = 100  # each mailbox record has as many numbers


def next_due(mailed: tuple[int, ...], at: datetime, per_hour: int) -> tuple[tuple[int, ...], datetime | None]:
    """Return the due times with that of a new mail, and the time if the mail has to wait.

    The times are seconds since 1970, oldest first. Any hour has `per_hour` of them at most; 0 is no
    limit.
    """
    if not per_hour:
        return (), None
    now = int(at.timestamp())
    last = mailed[-1] if mailed else now  # replicas have clocks of their own, and mails keep their order
    has_room = now if len(mailed) < per_hour else mailed[-per_hour] + HOUR_SECONDS
    due = max(now, last, has_room)
    return (*mailed, due)[-per_hour:], None if due == now else datetime.fromtimestamp(due, UTC)


def pause_until(not_before: str | None, now: datetime) -> datetime | None:
    """Return the time until which a mail has to wait, or None if it may be sent now."""
    if not_before is None:
        return None
    due = datetime.fromisoformat(not_before)
    return due if due - now > timedelta() else None
