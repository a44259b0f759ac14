"""The resources that this replica has promised and not settled: bounded pages in the store, read when it starts.

`promises:<pod name>:<n>` holds the ids of up to 250 resources. Only this replica writes them, so what it remembers is
the truth; an id that stays on a page after its promise was settled costs one look at the next start.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import msgspec

from chassis.deliver import ATTEMPTS_MAX
from chassis.errors import Conflict, WorldFault
from gateway.promise_records import Store

PAGE_IDS_MAX = 250  # 10 KB a page: written for each promise, or for all that came while the last one was written
PAGES_MAX = 80  # as many promises as requests that one gateway holds: each held one may become a promise
PROMISES_MAX = PAGE_IDS_MAX * PAGES_MAX


class Full(Exception):
    """PROMISES_MAX resources are promised already."""


class _PageRecord(msgspec.Struct):
    ids: list[str] = []


@dataclass(slots=True)
class _Page:
    key: str
    ids: dict[str, None] = field(default_factory=dict)  # in the order of their promises
    version: int = 0  # counts changes
    written: int = 0  # the version that the store has
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class PromiseIndex:
    """The pages of one replica."""

    def __init__(self, store: Store, pod_name: str) -> None:
        self._store = store
        self._pages = [_Page(_page_key(pod_name, number)) for number in range(PAGES_MAX)]
        self._where: dict[str, _Page] = {}

    async def read(self) -> list[str]:
        """Return the ids that an earlier process of this name left, oldest first; call it once, before any other."""
        values = await self._store.load_many([page.key for page in self._pages])
        for page, value in zip(self._pages, values, strict=True):
            for resource in () if value is None else msgspec.json.decode(value, type=_PageRecord).ids:
                page.ids[resource] = None
                self._where[resource] = page
        return list(self._where)

    async def ids_of(self, pod_name: str) -> list[str]:
        """Return the ids that another replica has on its pages, some of them perhaps settled; raise WorldFault."""
        found: list[str] = []
        for number in range(PAGES_MAX):  # pages are begun one after the other
            value, _ = await self._store.load(_page_key(pod_name, number))
            if value is None:
                break
            found += msgspec.json.decode(value, type=_PageRecord).ids
        return found

    async def add(self, resource: str) -> None:
        """Return once the store has the id; raise Full, or WorldFault."""
        page = self._where.get(resource) or self._with_room()
        if resource not in page.ids:
            page.ids[resource] = None
            page.version += 1
            self._where[resource] = page
        await self._write(page, page.version)

    def discard(self, resource: str) -> None:
        """Forget an id; the store forgets it when its page is written next."""
        page = self._where.pop(resource, None)
        if page is not None:
            del page.ids[resource]
            page.version += 1

    def _with_room(self) -> _Page:
        for page in self._pages:
            if len(page.ids) < PAGE_IDS_MAX:
                return page
        raise Full(f"{PROMISES_MAX} promises are open")

    async def _write(self, page: _Page, version: int) -> None:
        async with page.turn:
            for _ in range(ATTEMPTS_MAX):
                if page.written >= version:
                    return  # whoever wrote before us took our id along
                _, etag = await self._store.load(page.key)
                writing, ids = page.version, list(page.ids)
                try:
                    await self._store.save(page.key, msgspec.json.encode(_PageRecord(ids)), etag)
                except Conflict:
                    continue
                page.written = writing
        if page.written < version:
            raise WorldFault(f"{page.key}: not written after {ATTEMPTS_MAX} attempts")


def _page_key(pod_name: str, number: int) -> str:
    return f"promises:{pod_name}:{number}"
