"""An index of ids in the store: pages of 100, found one after the other, changed by ETag.

`<name>:<n>` (n = 0, 1, ...) holds up to 100 ids, oldest first; there is no gap, and a page that was made stays.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from chassis.errors import Conflict, TransientError
from chassis.processor import ATTEMPTS_MAX, Sidecar

PAGE_IDS_MAX = 100


class IndexFull(Exception):
    """There is no room for another id."""


class _Page(msgspec.Struct):
    ids: list[str] = []


class PagedIndex:
    """One index, which other processes may change too."""

    def __init__(self, sidecar: Sidecar, name: str, pages_max: int | None = None) -> None:
        self._sidecar = sidecar
        self._name = name
        self._pages_max = pages_max
        self._page = 0  # the first page that was not full when we looked
        self._seen: dict[str, int] = {}  # the page of each id, when all were last read

    async def add(self, id_: str, *, is_new: bool = True) -> None:
        """List an id, once; raise Full, or TransientError. Only one that is new need not be looked for from the
        start.
        """
        try:
            await self._until_won(lambda: self._add(id_, self._page if is_new else 0))
        except IndexFull:
            if not is_new or self._page == 0:
                raise
            self._page = 0  # another process may have made room on an earlier page
            await self._until_won(lambda: self._add(id_, 0))

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
        raise IndexFull(f"{self._name} holds {number * PAGE_IDS_MAX} already")

    async def remove(self, id_: str) -> None:
        """List an id no more; raise TransientError."""
        await self._until_won(lambda: self._remove(id_))

    async def _until_won(self, change: Callable[[], Awaitable[None]]) -> None:
        """Look again and change again whenever somebody else was faster."""
        for _ in range(ATTEMPTS_MAX):
            try:
                await change()
            except Conflict:
                continue
            return
        raise TransientError(f"{self._name}: lost {ATTEMPTS_MAX} races in a row")

    async def _remove(self, id_: str) -> None:
        seen = self._seen.pop(id_, None)  # an id never changes its page
        if seen is not None and await self._remove_from(seen, id_):
            return
        number = 0
        while not await self._remove_from(number, id_):
            number += 1

    async def _remove_from(self, number: int, id_: str) -> bool:
        """Whether there is no more to look for: the id is off this page, or there is no such page."""
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
