"""The store as the toolkit uses it: values with ETags, and one loop that retries a lost race."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from sidecart.chassis.errors import Conflict, TransientError

T = TypeVar("T")

ATTEMPTS_MAX = 50  # conflicts in a row on one key
ABSENT: tuple[None, None] = (None, None)
"""The answer of `load` for an absent key."""


class Store(Protocol):
    """Each call raises SidecarUnavailable if it could not be carried out."""

    async def load(self, key: str) -> tuple[bytes | None, str | None]:
        """Return the value and its ETag, or (None, None)."""

    async def load_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return one value for each key, None for an absent one."""

    async def save(self, key: str, value: bytes, etag: str | None, *, ttl_seconds: int | None = None) -> None:
        """Write if the ETag still matches, or, with None, if the key is free.

        Raise Conflict if another process wrote the key. With `ttl_seconds` the store deletes the
        key that long after this write.
        """

    async def insert(self, key: str, value: bytes) -> bool:
        """Write if the key is free, and return whether it was."""


async def update(
    store: Store,
    key: str,
    change: Callable[[bytes | None], tuple[bytes | None, T]],
    *,
    loaded: tuple[bytes | None, str | None] | None = None,
    ttl_seconds: int | None = None,
) -> T:
    """Load a value, change it, and save it; repeat this after a lost race.

    `change` gets the stored value, or None for an absent key. It returns the new value, or None to
    leave the store as it is, and the result of `update`. `loaded` is a value with its ETag that the
    caller knows already, or `ABSENT`; the save verifies it. Raise TransientError after
    `ATTEMPTS_MAX` lost races.
    """
    for _ in range(ATTEMPTS_MAX):
        value, etag = loaded or await store.load(key)
        changed, result = change(value)
        if changed is None:
            return result
        try:
            await store.save(key, changed, etag, ttl_seconds=ttl_seconds)
        except Conflict:
            loaded = None
            continue
        return result
    raise TransientError(f"{key}: lost {ATTEMPTS_MAX} races in a row")
