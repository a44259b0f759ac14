"""The index of pending commands: the resources that this replica has accepted and not settled.

`pending-index:<pod name>:<n>` is page n, with the ids of up to 250 resources. The replica reads its
pages when it starts. Only this replica writes them, so its memory is authoritative. An id that
stays on a page after its command was settled costs one lookup at the next start.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from sidecart.chassis.store import Store, update

# 10 KB a page. One write stores all pending commands that arrived during the previous write.
PAGE_IDS_MAX = 250
# Room for as many commands as one gateway holds requests: each may become pending.
PAGES_MAX = 80
PENDING_COMMANDS_MAX = PAGE_IDS_MAX * PAGES_MAX


class IndexFull(Exception):
    """The index already has PENDING_COMMANDS_MAX resources."""


class _PageRecord(msgspec.Struct):
    ids: list[str] = []


@dataclass(slots=True)
class _Page:
    key: str
    ids: dict[str, int] = field(default_factory=dict)  # ordered by acceptance; the version that adds each
    version: int = 0  # incremented by each change
    written: int = 0  # the version in the store
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class PendingIndex:
    """The index pages of one replica."""

    def __init__(self, store: Store, pod_name: str) -> None:
        self._store = store
        self._pages = [_Page(_page_key(pod_name, number)) for number in range(PAGES_MAX)]
        self._page_of: dict[str, _Page] = {}

    async def read(self) -> list[str]:
        """Return the ids that an earlier process of this pod left, oldest first.

        Call this once, before any other method.
        """
        values = await self._store.load_many([page.key for page in self._pages])
        for page, value in zip(self._pages, values, strict=True):
            for resource in () if value is None else msgspec.json.decode(value, type=_PageRecord).ids:
                page.ids[resource] = 0
                self._page_of[resource] = page
        return list(self._page_of)

    async def with_pages(self, pod_names: Sequence[str]) -> list[str]:
        """Return the replicas that ever had a pending command; raise TransientError."""
        first = await self._store.load_many([_page_key(pod_name, 0) for pod_name in pod_names])
        return [pod_name for pod_name, value in zip(pod_names, first, strict=True) if value is not None]

    async def ids_of(self, pod_name: str) -> list[str]:
        """Return the ids on another replica's pages; raise TransientError.

        Some of them may be settled.
        """
        found: list[str] = []
        for number in range(PAGES_MAX):  # pages are created one by one, so a missing one is the end
            value, _ = await self._store.load(_page_key(pod_name, number))
            if value is None:
                break
            found += msgspec.json.decode(value, type=_PageRecord).ids
        return found

    async def add(self, resource: str) -> None:
        """Return once the store has the id; raise IndexFull or TransientError."""
        page = self._page_of.get(resource) or self._with_room()
        if resource not in page.ids:
            page.version += 1
            page.ids[resource] = page.version
            self._page_of[resource] = page
        await self._write(page, page.version)

    def is_written(self, resource: str) -> bool:
        """Return whether the store has the id."""
        page = self._page_of.get(resource)
        return page is not None and page.ids[resource] <= page.written

    def discard(self, resource: str) -> None:
        """Remove an id; the next write of its page removes it from the store."""
        page = self._page_of.pop(resource, None)
        if page is not None:
            del page.ids[resource]
            page.version += 1

    def _with_room(self) -> _Page:
        for page in self._pages:
            if len(page.ids) < PAGE_IDS_MAX:
                return page
        raise IndexFull(f"{PENDING_COMMANDS_MAX} commands are pending")

    async def _write(self, page: _Page, version: int) -> None:
        async with page.lock:
            if page.written < version:  # else the previous writer included this version
                page.written = await update(
                    self._store, page.key, lambda _: (msgspec.json.encode(_PageRecord(list(page.ids))), page.version)
                )


def _page_key(pod_name: str, number: int) -> str:
    return f"pending-index:{pod_name}:{number}"
