"""The secret from which the ids of resources derive, and its rotation.

All gateways share it through the store. After a rotation a repeated Idempotency-Key must still lead
to the resource of the first request. The phases after the time of a rotation:

1. For `OVERLAP` the ids still derive from the old secret. Each caller's key leaves a claim in the
   store, which names the secret of its id.
2. For another `OVERLAP` the ids derive from the new secret, except those of claimed keys.
3. The old secret is not used.

So a key is valid for at least 7 days across a rotation, and only a rotation costs a call to the
store, for requests with a key. Gateways may enter a phase up to `MARGIN` apart: around phase 2
every key leaves a claim, and the first claim wins.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from sidecart.chassis.errors import TransientError
from sidecart.chassis.events import timestamp
from sidecart.chassis.store import ABSENT, Store, update
from sidecart.edge.command import made_at_ms, resource_id
from sidecart.edge.problems import unavailable

log = logging.getLogger(__name__)

KEY = "key-secrets"
SECRET_BYTES = 32
MARGIN = timedelta(hours=1)
OVERLAP = timedelta(days=7) + 2 * MARGIN
CLAIM_SECONDS = int((2 * OVERLAP).total_seconds())
READ_SECONDS = 30.0
RETRY_SECONDS = 1.0
NOT_LOADED = "the secret of the idempotency keys has not been loaded yet"

Generation = Literal["current", "previous"]


class Secrets(msgspec.Struct, frozen=True):
    """The stored secrets, in hexadecimal digits."""

    current: str
    previous: str | None = None
    rotated_at: datetime | None = None


class RotationUnderWay(Exception):
    """The last rotation has not ended; the message says when it ends."""


class KeySecrets:
    """Derives the ids of resources from the keys of callers."""

    def __init__(self, store: Store, now: Callable[[], datetime]) -> None:
        self._store = store
        self._now = now
        self._secrets: Secrets | None = None
        self._current = b""

    @property
    def are_loaded(self) -> bool:
        """Whether ids can be derived."""
        return self._secrets is not None

    async def resource_id(self, route: str, owner: str, key: str) -> str:
        """Return the id of the resource that a request creates; raise Problem 503."""
        if self._secrets is None:
            raise unavailable(f"nothing was sent: {NOT_LOADED}; try again")
        if self._secrets.previous is None or self._secrets.rotated_at is None:
            return resource_id(self._current, route, owner, key)
        secret = await self._secret_in_rotation(self._secrets, f"{route}\n{owner.casefold()}\n{key}", key)
        return resource_id(secret, route, owner, key)

    async def _secret_in_rotation(self, known: Secrets, use: str, key: str) -> bytes:
        assert known.previous is not None
        assert known.rotated_at is not None
        previous, made_at = bytes.fromhex(known.previous), made_at_ms(key)
        if made_at is not None:  # the key has its own time, so every gateway chooses the same secret
            return previous if made_at < (known.rotated_at + OVERLAP).timestamp() * 1000 else self._current
        since = self._now() - known.rotated_at
        own: Generation = "previous" if since < OVERLAP else "current"
        if since >= 2 * OVERLAP:
            return self._current
        try:
            found = await self._claim(use, own, must_write=since < OVERLAP + MARGIN)
        except TransientError as error:
            raise unavailable("nothing was sent: the store does not answer; try again") from error
        return previous if found == "previous" else self._current

    async def _claim(self, use: str, own: Generation, *, must_write: bool) -> Generation:
        """Return the secret that the first request with this key used."""
        key = f"key-claim:{hmac.digest(self._current, use.encode(), 'sha256').hex()}"

        def claim(value: bytes | None) -> tuple[bytes | None, Generation]:
            if value is not None:
                return None, msgspec.json.decode(value, type=Generation)
            return (msgspec.json.encode(own) if must_write else None), own

        loaded = ABSENT if must_write else None  # most keys are new
        return await update(self._store, key, claim, loaded=loaded, ttl_seconds=CLAIM_SECONDS)

    async def rotate(self) -> datetime:
        """Begin a rotation and return the time when it ends; raise RotationUnderWay."""
        now = self._now()

        def rotate(value: bytes | None) -> tuple[bytes | None, None]:
            known = None if value is None else msgspec.json.decode(value, type=Secrets)
            if known is not None and known.rotated_at is not None and now < known.rotated_at + 2 * OVERLAP:
                raise RotationUnderWay(f"the last rotation ends at {timestamp(known.rotated_at + 2 * OVERLAP)}")
            made = Secrets(_new(), None if known is None else known.current, now)
            return msgspec.json.encode(made), None

        await update(self._store, KEY, rotate)
        await self.load()
        return now + 2 * OVERLAP

    async def load(self) -> None:
        """Read the secrets; the first gateway creates them. Raise TransientError."""

        def read(value: bytes | None) -> tuple[bytes | None, Secrets]:
            if value is not None:
                return None, msgspec.json.decode(value, type=Secrets)
            made = Secrets(_new())
            return msgspec.json.encode(made), made

        self._secrets = await update(self._store, KEY, read)
        self._current = bytes.fromhex(self._secrets.current)

    async def keep_current(self) -> None:
        """Read the secrets from time to time, until cancelled: another gateway may rotate them."""
        while True:
            try:
                await self.load()
            except TransientError as error:
                log.warning("the secret of the idempotency keys cannot be read now: %s", error)
            await asyncio.sleep(READ_SECONDS if self.are_loaded else RETRY_SECONDS)


def _new() -> str:
    return secrets.token_hex(SECRET_BYTES)
