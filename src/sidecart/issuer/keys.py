"""The signing keys of the local issuer, in one file that only its owner may read."""

from __future__ import annotations

import json
import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from joserfc.jwk import ECKey, KeyParameters

FILE = "keys.json"
JWKS_PATH = "/jwks.json"
"""The path of the public keys at the issuer's HTTP address."""
ALGORITHM, CURVE = "ES256", "P-256"
KEYS_MAX = 2
"""The signing key, and the one before it, of which tokens may still be valid."""


@dataclass(frozen=True, slots=True)
class SigningKeys:
    """The keys of one issuer; the newest comes first and signs."""

    keys: tuple[ECKey, ...]

    @property
    def newest(self) -> ECKey:
        """The key that signs."""
        return self.keys[0]

    def public(self) -> dict[str, Any]:
        """Return the JWKS document (RFC 7517)."""
        return {"keys": [key.as_dict(private=False) for key in self.keys]}


def load(place: Path) -> SigningKeys:
    """Return the keys in a folder; create the first key, in a folder for its owner only.

    A file instead of a folder has one key in PEM. Raise ValueError if the file is damaged.
    """
    if place.is_file():
        key = ECKey.import_key(place.read_bytes())
        return SigningKeys(
            (ECKey.import_key(key.as_dict(private=True, kid=key.thumbprint(), use="sig", alg=ALGORITHM)),)
        )
    folder, file = place, place / FILE
    if not file.exists():
        return rotate(folder)
    entries = json.loads(file.read_text(encoding="utf-8"))["keys"]
    return SigningKeys(tuple(ECKey.import_key(entry) for entry in entries))


def rotate(folder: Path) -> SigningKeys:
    """Add a key, which signs from now on; tokens of the key before it stay valid."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = folder / FILE
    known = load(folder).keys if file.exists() else ()
    parameters: KeyParameters = {"kid": uuid.uuid4().hex, "use": "sig", "alg": ALGORITHM}
    keys = SigningKeys((ECKey.generate_key(CURVE, parameters), *known)[:KEYS_MAX])
    new = file.with_suffix(f".{os.getpid()}.new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as written:
        json.dump({"keys": [key.as_dict(private=True) for key in keys.keys]}, written)
    new.replace(file)
    return keys
