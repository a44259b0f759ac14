"""An index of ids in the store: numbered pages of up to 100 ids, each updated by ETag.

The key `<name>:<n>` (n = 0, 1, ...) holds one page, oldest id first. Page numbers have no gap, and
a page is never deleted.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from chassis.errors import Conflict, TransientError
from chassis.processor import ATTEMPTS_MAX, Sidecar

PAGE_IDS_MAX = 100


class IndexFull(Exception):
    """The index has reached its maximum number of pages, and all of them are full."""


class _Page(msgspec.Struct):
    ids: list[str] = []


class PagedIndex:
    """One index, which several processes may change at the same time."""

    def __init__(self, sidecar: Sidecar, name: str, pages_max: int | None = None) -> None:
        self._sidecar = sidecar
        self._name = name
        self._pages_max = pages_max
        self._page = 0  # the first page that had room when this process last read it
        self._seen: dict[str, int] = {}  # the page of each id, as of the last `ids` call

    async def add(self, id_: str, *, is_new: bool = True) -> None:
        """Add an id unless the index has it; raise IndexFull or TransientError.

        Pass `is_new=False` for an id that may be listed already: the search for it starts at page
        0.
        """
        try:
            await self._retry_conflicts(lambda: self._add(id_, self._page if is_new else 0))
        except IndexFull:
            if not is_new or self._page == 0:
                raise
            self._page = 0  # another process may have removed ids from an earlier page
            await self._retry_conflicts(lambda: self._add(id_, 0))

    async def _add(self, id_: str, number: int) -> None:
        while self._pages_max is None or number < self._pages_max:
            page, etag = await self._load(number)
            ids = [] if page is None else page.ids
            if id_ in ids:
                return
            if len(ids) < PAGE_IDS_MAX:
                await self._save(number, [*ids, id_], etag)
                return
            number += 1
            self._page = max(self._page, number)
        raise IndexFull(f"{self._name} already holds {number * PAGE_IDS_MAX} ids")

    async def remove(self, id_: str) -> None:
        """Remove an id if the index has it; raise TransientError."""
        await self._retry_conflicts(lambda: self._remove(id_))

    async def _retry_conflicts(self, change: Callable[[], Awaitable[None]]) -> None:
        """Run `change` until it causes no conflict with another writer; raise TransientError."""
        for _ in range(ATTEMPTS_MAX):
            try:
                await change()
            except Conflict:
                continue
            return
        raise TransientError(f"{self._name}: lost {ATTEMPTS_MAX} races in a row")

    async def _remove(self, id_: str) -> None:
        seen = self._seen.pop(id_, None)  # an id never moves to another page
        if seen is not None and await self._remove_from(seen, id_):
            return
        number = 0
        while not await self._remove_from(number, id_):
            number += 1

    async def _remove_from(self, number: int, id_: str) -> bool:
        """Remove the id from one page; return True if it was there, or if no such page exists."""
        page, etag = await self._load(number)
        if page is None:
            return True
        if id_ not in page.ids:
            return False
        await self._save(number, [each for each in page.ids if each != id_], etag)
        self._page = min(self._page, number)
        return True

    async def ids(self) -> list[str]:
        """Return all ids, oldest first."""
        seen: dict[str, int] = {}
        number = 0
        while (page := (await self._load(number))[0]) is not None:
            seen |= dict.fromkeys(page.ids, number)
            number += 1
        self._seen = seen
        return list(seen)

    async def _load(self, number: int) -> tuple[_Page | None, str | None]:
        value, etag = await self._sidecar.load(f"{self._name}:{number}")
        return (None if value is None else msgspec.json.decode(value, type=_Page)), etag

    async def _save(self, number: int, ids: list[str], etag: str | None) -> None:
        await self._sidecar.save(f"{self._name}:{number}", msgspec.json.encode(_Page(ids)), etag)
