"""An index of ids in the store: numbered pages of up to 100 ids, each updated by ETag.

The key `<name>:<n>` (n = 0, 1, ...) holds one page, oldest id first. Page numbers have no gap, and
a page is never deleted.
"""

from __future__ import annotations

import msgspec

from sidecart.chassis.store import Store, update

PAGE_IDS_MAX = 100


class IndexFull(Exception):
    """The index has reached its maximum number of pages, and all of them are full."""


class _Page(msgspec.Struct):
    ids: list[str] = []


class PagedIndex:
    """One index, which several processes may change at the same time."""

    def __init__(self, store: Store, name: str, pages_max: int | None = None) -> None:
        self._store = store
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
            await self._add(id_, self._page if is_new else 0)
        except IndexFull:
            if not is_new or self._page == 0:
                raise
            self._page = 0  # another process may have removed ids from an earlier page
            await self._add(id_, 0)

    async def _add(self, id_: str, number: int) -> None:
        def add(value: bytes | None) -> tuple[bytes | None, bool]:
            ids = _ids(value)
            if id_ in ids:
                return None, True
            return (_encoded([*ids, id_]), True) if len(ids) < PAGE_IDS_MAX else (None, False)

        while self._pages_max is None or number < self._pages_max:
            if await update(self._store, self._key(number), add):
                return
            number += 1
            self._page = max(self._page, number)
        raise IndexFull(f"{self._name} already holds {number * PAGE_IDS_MAX} ids")

    async def remove(self, id_: str) -> None:
        """Remove an id if the index has it; raise TransientError."""
        seen = self._seen.pop(id_, None)  # an id never moves to another page
        if seen is not None and await self._remove_from(seen, id_):
            return
        number = 0
        while not await self._remove_from(number, id_):
            number += 1

    async def _remove_from(self, number: int, id_: str) -> bool:
        """Remove the id from one page; return True if it was there, or if no such page exists."""

        def remove(value: bytes | None) -> tuple[bytes | None, bool]:
            if value is None:
                return None, True
            ids = _ids(value)
            if id_ not in ids:
                return None, False
            self._page = min(self._page, number)
            return _encoded([each for each in ids if each != id_]), True

        return await update(self._store, self._key(number), remove)

    async def ids(self) -> list[str]:
        """Return all ids, oldest first."""
        seen: dict[str, int] = {}
        number = 0
        while (value := (await self._store.load(self._key(number)))[0]) is not None:
            seen |= dict.fromkeys(_ids(value), number)
            number += 1
        self._seen = seen
        return list(seen)

    def _key(self, number: int) -> str:
        return f"{self._name}:{number}"


def _ids(value: bytes | None) -> list[str]:
    return [] if value is None else msgspec.json.decode(value, type=_Page).ids


def _encoded(ids: list[str]) -> bytes:
    return msgspec.json.encode(_Page(ids))
