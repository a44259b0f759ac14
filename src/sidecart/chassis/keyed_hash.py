"""Keyed hashes: keys of records that do not show the text they derive from.

The secret is in the service's own store, under one key. The first process inserts it, and no
process changes it: every key of a record derives from it (docs/adr/0071-erasure.md).
"""

from __future__ import annotations

import hmac
import secrets

import msgspec

from sidecart.chassis.store import Store

SECRET_BYTES = 32


class _Secret(msgspec.Struct):
    secret: str


class KeyedHash:
    """Computes HMAC-SHA-256 with the secret under one key of the store."""

    def __init__(self, store: Store, key: str) -> None:
        self._store = store
        self._key = key
        self._secret: bytes | None = None

    async def load(self) -> None:
        """Load the secret once; the first process creates it. Raise TransientError."""
        if self._secret is not None:
            return
        value, _ = await self._store.load(self._key)
        if value is None:
            await self._store.insert(self._key, msgspec.json.encode(_Secret(secrets.token_hex(SECRET_BYTES))))
            value, _ = await self._store.load(self._key)
        assert value is not None, f"the store has no {self._key} after its insert"
        self._secret = bytes.fromhex(msgspec.json.decode(value, type=_Secret).secret)

    def __call__(self, text: str) -> str:
        """Return the hash of a text in hexadecimal digits; call `load` before."""
        assert self._secret is not None, "the secret is not loaded"
        return keyed_hash(self._secret, text)


def keyed_hash(secret: bytes, text: str) -> str:
    """Return the HMAC-SHA-256 of a text in UTF-8, in hexadecimal digits."""
    return hmac.digest(secret, text.encode(), "sha256").hex()
