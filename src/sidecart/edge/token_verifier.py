"""Verifies access tokens: JSON Web Tokens (RFC 7519) that the configured issuer signed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from joserfc import jws, jwt
from joserfc.errors import JoseError

from sidecart.edge.callers import Caller, Verified, caller_id, unauthorized
from sidecart.edge.issuer_keys import IssuerKeys
from sidecart.edge.problems import unavailable
from sidecart.edge.settings import AuthSettings

ALGORITHMS = ("ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512", "Ed25519")
"""Asymmetric signatures only: neither `none`, nor an HMAC that takes a public key as its secret."""
SKEW_SECONDS = 30
"""The clocks of the issuer and of the gateway may differ by this much."""
TYPES = ("at+jwt", "application/at+jwt", "jwt")
"""The header `typ` of an access token, which may be missing: many issuers are older than RFC 9068.

It refuses logout tokens, for example.
"""
ID_TOKEN_CLAIMS = ("at_hash", "c_hash")
"""Claims of ID tokens only. The audience of an ID token is a client, which may be the gateway."""
SUBJECT_CHARACTERS_MAX = 255
"""The limit of OpenID Connect Core, section 2."""


class NotAnAccessToken(ValueError):
    """A token of the issuer that is for another purpose."""


class TokenVerifier:
    """Verifies the tokens of one issuer for one audience."""

    def __init__(self, auth: AuthSettings, keys: IssuerKeys) -> None:
        self._auth = auth
        self._keys = keys
        self._claims = jwt.JWTClaimsRegistry(
            leeway=SKEW_SECONDS,
            iss={"essential": True, "value": auth.issuer},
            aud={"essential": True, "value": auth.audience},
            exp={"essential": True},
            sub={"essential": True},
        )

    async def verify(self, token: str) -> Verified:
        """Return the caller; raise Problem 401, or 503 while the issuer's keys are unknown."""
        if not self._keys.are_known:
            raise unavailable("the keys of the token issuer are not known yet; try again")
        try:
            header = jws.extract_compact(token.encode()).headers()
            if not isinstance(header, Mapping):  # the library accepts any JSON that contains "alg"
                raise TypeError("header")
            key_id, algorithm = header.get("kid"), header.get("alg")
            if algorithm not in ALGORITHMS or not isinstance(key_id, str | None):
                raise ValueError(f"algorithm {str(algorithm)[:20]!r}")
            key = await self._keys.find(key_id)
            if key is None or key.get("alg", algorithm) != algorithm:
                raise ValueError("unknown key")
            claims = jwt.decode(token, key, algorithms=[algorithm]).claims
            _check_kind(header, claims)
            self._claims.validate(claims)
            return self._verified(claims)
        except (JoseError, ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            raise unauthorized(f"the token is not valid: {_reason(error)}", "invalid_token") from error

    def _verified(self, claims: Mapping[str, Any]) -> Verified:
        subject, address = claims["sub"], claims.get("email")
        if not isinstance(subject, str) or not 1 <= len(subject) <= SUBJECT_CHARACTERS_MAX:
            raise ValueError("sub")
        is_verified = isinstance(address, str) and claims.get("email_verified") is True
        roles: object = claims
        for name in self._auth.roles_claim.split("."):
            roles = roles.get(name) if isinstance(roles, Mapping) else None
        caller = Caller(
            id=caller_id(self._auth.issuer, subject),
            address=str(address) if is_verified else "",
            roles=_words(roles),
            scopes=_words(claims.get("scope")),
        )
        return Verified(caller, float(claims["exp"]) + SKEW_SECONDS)


def _check_kind(header: Mapping[str, Any], claims: Mapping[str, Any]) -> None:
    """Raise NotAnAccessToken for a token that says so; `typ` among the claims is Keycloak's."""
    is_other = str(header.get("typ", TYPES[0])).lower() not in TYPES or claims.get("typ") == "ID"
    if is_other or any(name in claims for name in ID_TOKEN_CLAIMS):
        raise NotAnAccessToken


def _words(value: object) -> frozenset[str]:
    """Return the words of a claim: a list of strings, or one string with blanks."""
    words = value.split() if isinstance(value, str) else value if isinstance(value, list) else ()
    return frozenset(word for word in words if isinstance(word, str))


def _reason(error: Exception) -> str:
    """Return the reason without any part of the token."""
    if isinstance(error, NotAnAccessToken):
        return "it is not an access token"
    kind = getattr(error, "error", "")
    return {
        "expired_token": "it has expired",
        "bad_signature": "its signature does not match",
        "invalid_claim": "its issuer, audience or time is wrong",
        "missing_claim": "it lacks iss, aud, sub or exp",
    }.get(str(kind), "it must be signed by the issuer, with a key and an algorithm of its JWKS")
