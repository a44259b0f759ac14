"""Access tokens of the local issuer (RFC 9068)."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable

from joserfc import jwt

from sidecart.issuer.keys import ALGORITHM, SigningKeys

ISSUER = "http://issuer.localhost"
"""The name of the local issuer. It has no port, so callers keep their ids when the port changes."""
AUDIENCE = "sidecart"
SECONDS = 8 * 3600
"""How long a token is valid: a working day."""


def token(
    keys: SigningKeys,
    address: str,
    *,
    roles: Iterable[str] = (),
    scopes: Iterable[str] = (),
    seconds: int = SECONDS,
    audience: str = AUDIENCE,
    subject: str = "",
) -> str:
    """Return a signed token for the holder of an address, which is the subject too by default."""
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "aud": audience,
        "sub": subject or subject_of(address),
        "email": address,
        "email_verified": True,
        "iat": now,
        "exp": now + seconds,
        "jti": str(uuid.uuid4()),
        **({"roles": sorted(roles)} if roles else {}),
        **({"scope": " ".join(sorted(scopes))} if scopes else {}),
    }
    return jwt.encode({"alg": ALGORITHM, "kid": keys.newest.kid, "typ": "at+jwt"}, claims, keys.newest)


def subject_of(address: str) -> str:
    """Return the subject of an address: upper and lower case are one caller."""
    return address.casefold()
