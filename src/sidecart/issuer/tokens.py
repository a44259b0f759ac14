"""Access tokens of the local issuer (RFC 9068)."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable

from joserfc import jwt

from sidecart.issuer.keys import ALGORITHM, SigningKeys

ISSUER = "http://issuer.localhost"
"""The name of the local issuer. It has no port, so a user keeps the id when the port changes."""
AUDIENCE = "sidecart"
SECONDS = 8 * 3600
"""How long a token is valid: a working day."""


def token(
    keys: SigningKeys,
    email: str,
    *,
    roles: Iterable[str] = (),
    scopes: Iterable[str] = (),
    seconds: int = SECONDS,
    audience: str = AUDIENCE,
) -> str:
    """Return a signed token for the holder of an address; the address is the subject, too."""
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "aud": audience,
        "sub": subject(email),
        "email": email,
        "email_verified": True,
        "iat": now,
        "exp": now + seconds,
        "jti": str(uuid.uuid4()),
        **({"roles": sorted(roles)} if roles else {}),
        **({"scope": " ".join(sorted(scopes))} if scopes else {}),
    }
    return jwt.encode({"alg": ALGORITHM, "kid": keys.newest.kid, "typ": "at+jwt"}, claims, keys.newest)


def subject(email: str) -> str:
    """Return the subject of an address: upper and lower case are one user."""
    return email.casefold()
