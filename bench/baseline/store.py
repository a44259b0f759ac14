"""Records in Redis by redis-py, each a hash of data and version, written only over the version that was read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from chassis.errors import Conflict, SidecarUnavailable

CONNECTIONS_MAX = 1_024  # redis-py refuses a call where it would need more; every held request may have one under way

# KEYS: the record, then secondary records. ARGV: the version that was read ("" if none), the data, seconds to live
# ("" for ever), then one datum a secondary record. A secondary record is written once, by whoever is first.
SAVE = """
local version = redis.call('HGET', KEYS[1], 'version') or ''
if version ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'data', ARGV[2], 'version', tostring((tonumber(version) or 0) + 1))
if ARGV[3] ~= '' then redis.call('EXPIRE', KEYS[1], ARGV[3]) end
for i = 2, #KEYS do
  if redis.call('EXISTS', KEYS[i]) == 0 then redis.call('HSET', KEYS[i], 'data', ARGV[i + 2], 'version', '1') end
end
return 1
"""


class Store:
    """The records of one service: its keys begin with its name."""

    def __init__(self, url: str, name: str) -> None:
        self._redis: Redis = Redis.from_url(url, max_connections=CONNECTIONS_MAX)
        self._save = self._redis.register_script(SAVE)
        self._prefix = f"{name}||"

    async def close(self) -> None:
        """Disconnect."""
        await self._redis.aclose()

    async def load(self, key: str) -> tuple[bytes | None, str | None]:
        """Return the value and its version, or (None, None)."""
        return (await self.load_pair(key, None))[0]

    async def load_pair(
        self, key: str, secondary: str | None
    ) -> tuple[tuple[bytes | None, str | None], tuple[bytes | None, str | None]]:
        """Return a record and a secondary record as they are at one moment."""
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.hmget(self._prefix + key, "data", "version")
        if secondary is not None:
            pipeline.hmget(self._prefix + secondary, "data", "version")
        answers = await self._run(pipeline)
        return _record(answers[0]), _record(answers[1]) if secondary is not None else (None, None)

    async def load_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the values in the order of their keys."""
        if not keys:
            return []
        pipeline = self._redis.pipeline(transaction=False)
        for key in keys:
            pipeline.hget(self._prefix + key, "data")
        return list(await self._run(pipeline))

    async def save(self, key: str, value: bytes, etag: str | None, *, ttl_seconds: int | None = None) -> None:
        """Write if the version still holds, or with None if the key is free; raise Conflict otherwise."""
        await self.save_with(key, value, etag, {}, ttl_seconds=ttl_seconds)

    async def save_with(
        self,
        key: str,
        value: bytes,
        etag: str | None,
        secondaries: Mapping[str, bytes],
        *,
        ttl_seconds: int | None = None,
    ) -> None:
        """Write a record and its new secondary records at once, or raise Conflict and write none."""
        keys = [self._prefix + each for each in (key, *secondaries)]
        arguments = [etag or "", value, "" if ttl_seconds is None else ttl_seconds, *secondaries.values()]
        try:
            saved = await self._save(keys=keys, args=arguments)
        except RedisError as error:
            raise SidecarUnavailable(f"redis: {error}") from error
        if not saved:
            raise Conflict(key)

    async def insert(self, key: str, value: bytes) -> bool:
        """Write if the key is free; say whether it was."""
        try:
            await self.save(key, value, None)
        except Conflict:
            return False
        return True

    async def _run(self, pipeline: Any) -> Any:
        try:
            return await pipeline.execute()
        except RedisError as error:
            raise SidecarUnavailable(f"redis: {error}") from error


def _record(answer: Sequence[bytes | None]) -> tuple[bytes | None, str | None]:
    data, version = answer
    return data, None if version is None else version.decode()
