"""A fake sidecar for the unit tests of the gateway."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from sidecart.chassis.connections import Answer
from sidecart.chassis.errors import Conflict, SidecarTimeout, SidecarUnavailable, WriteRefused
from sidecart.chassis.sidecar import Sidecar
from sidecart.chassis.store_health import StoreHealth


class FakeSidecar(Sidecar):
    """Records published events in a list and stores records with ETags.

    A test can make publishes and store calls fail. Several fakes may share the records, like
    replicas.
    """

    def __init__(self, records: dict[str, tuple[bytes, int]] | None = None) -> None:
        self.store = StoreHealth()
        self.published_at = float("-inf")
        self.publish_block = ""
        self.store.written()
        self.records = {} if records is None else records
        self.ttl_seconds: dict[str, int | None] = {}
        self.saves: list[str] = []
        self.store_is_down = False
        self.refuses_writes = False  # reads still work
        self.before_save: Callable[[str], None] = lambda _key: None
        self.published: list[tuple[str, dict[str, object]]] = []
        self.publish_errors: list[Exception] = []
        self.invoked: list[str] = []
        self.answer: Callable[[str, str], Answer] = lambda _app_id, _path: Answer(404, b"{}")
        self.was_published = asyncio.Event()
        self.publish_is_blocked = False
        self.publishes = 0  # started while publishing is blocked
        self.store_is_hung = False
        self.store_seconds = 0.0  # of each call
        self.invoke_is_hung = False
        self.is_hung = False
        self.minutes = 0  # on a clock that the test controls

    async def load(self, key: str) -> tuple[bytes | None, str | None]:
        """Return the value and its ETag, or (None, None)."""
        await self._wait_for_store()
        if self.store_is_down:
            raise SidecarUnavailable("the store is down")
        value, version = self.records.get(key, (None, 0))
        return (None, None) if value is None else (value, str(version))

    async def load_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the values in the order of their keys, None for a missing key."""
        return [(await self.load(key))[0] for key in keys]

    async def save(self, key: str, value: bytes, etag: str | None, *, ttl_seconds: int | None = None) -> None:
        """Write if the ETag still matches; else raise Conflict."""
        await self._wait_for_store()
        if self.store_is_down:
            raise SidecarUnavailable("the store is down")
        if self.refuses_writes:
            self.store.refused(Answer(500, b'{"message": "read-only"}'))
            raise WriteRefused(f"save of {key}: read-only")
        self.before_save(key)
        if etag != (str(self.records[key][1]) if key in self.records else None):
            raise Conflict(key)
        self.put(key, value)
        self.ttl_seconds[key] = ttl_seconds
        self.saves.append(key)

    async def _wait_for_store(self) -> None:
        await asyncio.sleep(self.store_seconds)
        if self.store_is_hung:
            await asyncio.sleep(10)
            raise SidecarTimeout("the store is hung")

    async def answers(self) -> bool:
        """Return False while the sidecar is hung."""
        return not self.is_hung

    def put(self, key: str, value: bytes) -> None:
        """Write a record directly, as another process would."""
        self.records[key] = value, self.records.get(key, (b"", 0))[1] + 1

    def read(self, key: str) -> Any:
        """Return a record, decoded."""
        return msgspec.json.decode(self.records[key][0])

    async def try_publish(self, topic: str, event: bytes, seconds_max: float = 10.0) -> None:
        """Record one event, or raise the next of `publish_errors`.

        While publishing is blocked, wait for `seconds_max` and time out.
        """
        if self.publish_is_blocked:
            self.publishes += 1
            await asyncio.sleep(seconds_max)
            raise SidecarTimeout("blocked")
        if self.publish_errors:
            raise self.publish_errors.pop(0)
        self.published.append((topic, msgspec.json.decode(event)))
        self.published_at = asyncio.get_running_loop().time()
        self.was_published.set()

    async def invoke(self, app_id: str, path: str, seconds_max: float) -> Answer:
        """Return the answer that the test set."""
        self.invoked.append(f"{app_id}{path}")
        if self.invoke_is_hung:
            await asyncio.sleep(seconds_max)
            raise SidecarTimeout("hung")
        return self.answer(app_id, path)


async def until(condition: Callable[[], bool], turns: int = 1_000_000) -> None:
    """Run the event loop until the condition holds, for at most `turns` iterations."""
    for _ in range(turns):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("the condition never held")
