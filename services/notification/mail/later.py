"""Mails that wait for more than an hour: one index for each hour in which mails are due.

`mail-later:<hour>:<n>` lists the order ids of the mails that are due in this hour, such as
`mail-later:2026-01-15T09:0`. Each user has at most MAILS_PER_HOUR of them in an hour. `mail-later`
has the first hour whose mails are not in the retry queue yet. So a user with many waiting mails
takes little of the retry queue, which is bounded and read every few seconds.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import msgspec

from sidecart.chassis.errors import Conflict
from sidecart.chassis.paged_index import PagedIndex
from sidecart.chassis.store import Store

FIRST = "mail-later"
HOUR = timedelta(hours=1)
# A mail is listed here if its hour begins later than this. The mails of an hour are taken half of
# it before, so that no process adds a mail to an hour that another one takes at the same time.
AHEAD = timedelta(hours=1)
INDEXES_MAX = 1_000  # hours whose page with room is remembered


class _First(msgspec.Struct):
    hour: datetime


class LaterMails:
    """The mails of later hours, shared by all replicas."""

    def __init__(self, store: Store, now: Callable[[], datetime]) -> None:
        self._store = store
        self._now = now
        self._indexes: OrderedDict[datetime, PagedIndex] = OrderedDict()
        self._has_first = False

    def holds(self, due: datetime) -> bool:
        """Return whether a mail with this due time is listed here, and not in the retry queue."""
        return hour_of(due) > self._now() + AHEAD

    async def add(self, order_id: str, due: datetime, *, is_new: bool) -> None:
        """List a mail under its hour; raise TransientError."""
        if not self._has_first:
            await self._store.insert(FIRST, msgspec.json.encode(_First(hour_of(self._now()))))
            self._has_first = True
        await self._index(hour_of(due)).add(order_id, is_new=is_new)

    async def has(self, order_id: str, due: datetime) -> bool:
        """Return whether a mail is listed under its hour."""
        return order_id in await later_ids(self._store, due)

    async def move(self, enlist: Callable[[str], Awaitable[None]]) -> None:
        """Put the mails of each hour that is near into the retry queue, by `enlist`.

        Raise TransientError. A mail may be put there twice, which does no harm.
        """
        value, etag = await self._store.load(FIRST)
        if value is None:
            return
        first = hour = msgspec.json.decode(value, type=_First).hour
        with suppress(Conflict):  # another replica moves them too
            while hour <= self._now() + AHEAD / 2:
                ids = await later_ids(self._store, hour)
                for order_id in ids:
                    await enlist(order_id)
                self._indexes.pop(hour, None)
                hour += HOUR
            if hour != first:
                await self._store.save(FIRST, msgspec.json.encode(_First(hour)), etag)

    def _index(self, hour: datetime) -> PagedIndex:
        index = self._indexes.setdefault(hour, PagedIndex(self._store, _name(hour)))
        if len(self._indexes) > INDEXES_MAX:
            self._indexes.popitem(last=False)
        return index


async def later_ids(store: Store, due: datetime) -> list[str]:
    """Return the order ids of the mails that are due in an hour; raise TransientError."""
    return await PagedIndex(store, _name(hour_of(due))).ids()


async def later_hours(store: Store, last: datetime) -> list[datetime]:
    """Return the hours up to `last` whose mails are not in the retry queue yet."""
    value, _ = await store.load(FIRST)
    hour = last + HOUR if value is None else msgspec.json.decode(value, type=_First).hour
    count = max(0, int((last - hour) / HOUR) + 1) if hour <= last else 0
    return [hour + number * HOUR for number in range(count)]


def hour_of(at: datetime) -> datetime:
    """Return the beginning of an hour in UTC."""
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _name(hour: datetime) -> str:
    return f"{FIRST}:{hour:%Y-%m-%dT%H}"
