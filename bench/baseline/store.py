"""Records in Redis through redis-py: hashes of data and version, written with optimistic
concurrency.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from sidecart.chassis.errors import Conflict, SidecarUnavailable

# redis-py rejects a call that needs one more; every held request may have a call in progress
CONNECTIONS_MAX = 1_024

# KEYS: the record, a key that must not exist (the record itself: no such key), then its secondary
# records. ARGV: the version that was read ("" for a new record), the data, seconds to live ("" for
# no expiry), then one value per secondary record. The first writer of a secondary record wins; it
# is never overwritten.
SAVE = """
local version = redis.call('HGET', KEYS[1], 'version') or ''
if version ~= ARGV[1] then return 0 end
if KEYS[2] ~= KEYS[1] and redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
redis.call('HSET', KEYS[1], 'data', ARGV[2], 'version', tostring((tonumber(version) or 0) + 1))
if ARGV[3] ~= '' then redis.call('EXPIRE', KEYS[1], ARGV[3]) end
for i = 3, #KEYS do
  if redis.call('EXISTS', KEYS[i]) == 0 then redis.call('HSET', KEYS[i], 'data', ARGV[i + 1], 'version', '1') end
end
return 1
"""


class Store:
    """The records of one service; their keys begin with its name."""

    def __init__(self, url: str, name: str) -> None:
        self._redis: Redis = Redis.from_url(url, max_connections=CONNECTIONS_MAX)
        self._save = self._redis.register_script(SAVE)
        self._prefix = f"{name}||"

    async def close(self) -> None:
        """Disconnect."""
        await self._redis.aclose()

    async def load(self, key: str) -> tuple[bytes | None, str | None]:
        """Return the value and its version, or (None, None)."""
        return _record(await self._run(self._redis.hmget(self._prefix + key, "data", "version")))

    async def load_pair(
        self, key: str, secondary: str | None
    ) -> tuple[tuple[bytes | None, str | None], tuple[bytes | None, str | None]]:
        """Return a record and a secondary record, read in one round trip."""
        if secondary is None:
            return await self.load(key), (None, None)
        pipeline = self._redis.pipeline(transaction=False)
        for each in (key, secondary):
            pipeline.hmget(self._prefix + each, "data", "version")
        first, second = await self._run(pipeline.execute())
        return _record(first), _record(second)

    async def load_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the values in the order of their keys."""
        if not keys:
            return []
        pipeline = self._redis.pipeline(transaction=False)
        for key in keys:
            pipeline.hget(self._prefix + key, "data")
        return list(await self._run(pipeline.execute()))

    async def save(self, key: str, value: bytes, etag: str | None, *, ttl_seconds: int | None = None) -> None:
        """Write if the version still matches, or with None if the key is free; raise Conflict
        otherwise.
        """
        await self.save_with(key, value, etag, {}, ttl_seconds=ttl_seconds)

    async def save_with(
        self,
        key: str,
        value: bytes,
        etag: str | None,
        secondaries: Mapping[str, bytes],
        *,
        ttl_seconds: int | None = None,
        absent: str | None = None,
    ) -> None:
        """Write a record and its new secondary records at once; on Conflict write none.

        It is also a Conflict if the record `absent` exists.
        """
        keys = [self._prefix + each for each in (key, absent or key, *secondaries)]
        arguments = [etag or "", value, "" if ttl_seconds is None else ttl_seconds, *secondaries.values()]
        try:
            saved = await self._save(keys=keys, args=arguments)
        except RedisError as error:
            raise SidecarUnavailable(f"redis: {error}") from error
        if not saved:
            raise Conflict(key)

    async def insert(self, key: str, value: bytes) -> bool:
        """Write if the key is free; return whether it was."""
        try:
            await self.save(key, value, None)
        except Conflict:
            return False
        return True

    async def _run(self, call: Awaitable[Any]) -> Any:
        try:
            return await call
        except RedisError as error:
            raise SidecarUnavailable(f"redis: {error}") from error


def _record(answer: Sequence[bytes | None]) -> tuple[bytes | None, str | None]:
    data, version = answer
    return data, None if version is None else version.decode()
