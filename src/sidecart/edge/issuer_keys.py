"""The public keys of the token issuer, from its JWKS document (RFC 7517).

The keys are read again from time to time, and when a token names an unknown key. So the issuer can
rotate them without a restart. While the issuer does not answer, the last keys stay valid.
"""

from __future__ import annotations

import asyncio
import json
import logging
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry, Key

from sidecart.edge.settings import is_local, is_safe

log = logging.getLogger(__name__)

READ_SECONDS = 300.0
RETRY_SECONDS = 1.0
"""Between two attempts while no keys are known."""
UNKNOWN_KEY_SECONDS = 10.0
"""An unknown key in a token makes the gateway ask the issuer at most this often."""
ANSWER_SECONDS_MAX = 5.0
DOCUMENT_BYTES_MAX = 256 * 1024
RSA_BITS_MIN = 2048
KEY_TYPES = ("RSA", "EC", "OKP")
"""Asymmetric keys only: a shared secret would let every gateway make tokens."""

Fetch = Callable[[str], bytes]


class KeysError(Exception):
    """The issuer's documents cannot be read; the message gives the reason."""


class IssuerKeys:
    """The current keys of one issuer."""

    def __init__(self, issuer: str, jwks_url: str, fetch: Fetch | None = None) -> None:
        """Read the keys at `jwks_url`; without one, where the issuer's discovery document says."""
        self.version = 0
        self.changed: Callable[[], None] = lambda: None
        """Called after the keys have changed."""
        self._issuer = issuer
        self._jwks_url = jwks_url
        self._fetch = fetch or get
        self._keys: dict[str, Key] = {}
        self._document: object = None
        self._reading: asyncio.Task[None] | None = None
        self._asked_at = float("-inf")

    @property
    def are_known(self) -> bool:
        """Whether the keys were read at least once."""
        return self.version > 0

    async def find(self, key_id: str | None) -> Key | None:
        """Return the key of a token, or None; ask the issuer for a key that is not known yet."""
        if (key := self._known(key_id)) is None and self._may_ask():
            await self._read_once()
            key = self._known(key_id)
        return key

    def _known(self, key_id: str | None) -> Key | None:
        if key_id is None:  # a token may leave out the name if the issuer has one key
            return next(iter(self._keys.values())) if len(self._keys) == 1 else None
        return self._keys.get(key_id)

    def _may_ask(self) -> bool:
        now = asyncio.get_running_loop().time()
        if now - self._asked_at < UNKNOWN_KEY_SECONDS and self._reading is None:
            return False
        self._asked_at = now
        return True

    async def keep_current(self) -> None:
        """Read the keys from time to time, until cancelled."""
        while True:
            await self._read_once()
            await asyncio.sleep(READ_SECONDS if self.are_known else RETRY_SECONDS)

    async def _read_once(self) -> None:
        """Read the keys; calls at the same time share one request."""
        if self._reading is None:
            self._reading = asyncio.create_task(self._read())
            self._reading.add_done_callback(self._end_reading)
        await asyncio.shield(self._reading)

    def _end_reading(self, _task: asyncio.Task[None]) -> None:
        self._reading = None

    async def _read(self) -> None:
        try:
            url = self._jwks_url or await asyncio.to_thread(self._discover)
            document = await asyncio.to_thread(self._document_at, url)
            keys = _keys_of(document)
        except KeysError as error:
            log.warning("the keys of the token issuer cannot be read now: %s", error)
            return
        if document != self._document:
            self._document, self._keys = document, keys
            self.version += 1
            self.changed()
            log.info("read %d keys of the token issuer", len(keys))

    def _discover(self) -> str:
        url = f"{self._issuer.rstrip('/')}/.well-known/openid-configuration"
        document = self._document_at(url)
        if document.get("issuer") != self._issuer:
            raise KeysError(f"{url} names another issuer")
        found = document.get("jwks_uri")
        if not isinstance(found, str) or not is_safe(found):
            raise KeysError(f"{url} has no jwks_uri with https")
        return found

    def _document_at(self, url: str) -> dict[str, Any]:
        try:
            document = json.loads(self._fetch(url))
        except (OSError, ValueError) as error:
            raise KeysError(f"{url}: {error}") from error
        if not isinstance(document, dict):
            raise KeysError(f"{url} is not a JSON object")
        return document


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """Follow no redirect: it could leave https."""


def get(url: str) -> bytes:
    """Return the body at a URL; raise OSError. A proxy in the environment is used for https."""
    proxies = [urllib.request.ProxyHandler({})] if is_local(url) else []
    opener = urllib.request.build_opener(_NoRedirects, *proxies)
    with opener.open(url, timeout=ANSWER_SECONDS_MAX) as answer:
        body: bytes = answer.read(DOCUMENT_BYTES_MAX + 1)
    if len(body) > DOCUMENT_BYTES_MAX:
        raise OSError(f"the answer is over {DOCUMENT_BYTES_MAX} bytes")
    return body


def _keys_of(document: Mapping[str, Any]) -> dict[str, Key]:
    entries = document.get("keys")
    if not isinstance(entries, list):
        raise KeysError("the JWKS document has no list of keys")
    found = {}
    for number, entry in enumerate(entries):
        if isinstance(entry, dict) and (key := _signing_key(entry)) is not None:
            found[str(entry.get("kid", number))] = key
    if not found:
        raise KeysError("the JWKS document has no usable key to verify signatures")
    return found


def _signing_key(entry: Mapping[str, Any]) -> Key | None:
    """Return a key that verifies signatures, or None for another one."""
    if entry.get("kty") not in KEY_TYPES or entry.get("use", "sig") != "sig":
        return None
    # A character of base64url has 6 bits.
    if entry["kty"] == "RSA" and len(str(entry.get("n", ""))) * 6 < RSA_BITS_MIN:
        return None
    try:
        return JWKRegistry.import_key(dict(entry))
    except (JoseError, ValueError, TypeError):
        return None
