"""Callers: who sent a request, from its OpenID Connect bearer token (RFC 6750).

A caller's id derives from the token's issuer and subject. A body never decides who the caller is.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from starlette.requests import Request

from sidecart.edge.problems import Problem
from sidecart.edge.rate_limits import CallerLimits

# Namespace of the ids that derive from an issuer and a subject.
NAMESPACE = uuid.UUID("5d0c1b7e-2f0c-5d0e-8a55-3b1a7c9c6e21")
OPERATOR = "operator"
"""The role that may read everything and replay dead letters."""
TOKEN_CHARACTERS_MAX = 8192
KNOWN_MAX = 5_000
"""Verified tokens in memory, each of about 1 KB; the cache evicts the one that was added first."""
SCHEME = "bearer "


def caller_id(issuer: str, subject: str) -> str:
    """Return the id of a caller: a UUID of version 5."""
    return str(uuid.uuid5(NAMESPACE, f"{issuer}\n{subject}"))


@dataclass(frozen=True, slots=True)
class Caller:
    """The sender of a request, as its token describes it."""

    id: str
    address: str = ""
    """The verified address (claim "email"); empty without one."""
    roles: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """The name in the audit trail: the verified address, or the id without one."""
        return self.address or self.id

    @property
    def is_operator(self) -> bool:
        """Whether this caller may read everything."""
        return OPERATOR in self.roles

    def require_scope(self, scope: str) -> None:
        """Raise Problem 403 unless the token has a scope; an empty scope needs none."""
        if scope and scope not in self.scopes:
            raise forbidden(f"the token lacks the scope {scope}", scope)


@dataclass(frozen=True, slots=True)
class Verified:
    """A caller, and the time (Unix seconds) at which the token expires."""

    caller: Caller
    expires_at: float


class Verifier(Protocol):
    """Verifies tokens."""

    async def verify(self, token: str) -> Verified:
        """Return the caller; raise Problem 401, or 503 while the issuer's keys are unknown."""


class Callers:
    """Finds the caller of each request. A verified token is remembered until it expires."""

    def __init__(self, verifier: Verifier, limits: CallerLimits) -> None:
        self.limits = limits
        self._verifier = verifier
        self._known: dict[str, Verified] = {}
        self._forgotten = 0

    def forget(self) -> None:
        """Verify every token again: the keys of the issuer have changed."""
        self._known.clear()
        self._forgotten += 1

    def forget_caller(self, caller: str) -> None:
        """Forget the tokens of an erased caller, and the address in them."""
        for token in [token for token, known in self._known.items() if known.caller.id == caller]:
            del self._known[token]

    async def of(self, request: Request) -> Caller:
        """Return the caller.

        Raise Problem 401 if the token is missing or not valid, 429 for too many requests. Operators
        have no limit of requests.
        """
        caller = await self._sender(request)
        if not caller.is_operator:
            self.limits.check(caller.id)
        return caller

    async def _sender(self, request: Request) -> Caller:
        token = _token(request.headers.getlist("authorization"))
        if (known := self._known.get(token)) is not None:
            if time.time() < known.expires_at:
                return known.caller
            del self._known[token]
        return await self._verified(token)

    async def _verified(self, token: str) -> Caller:
        forgotten = self._forgotten
        verified = await self._verifier.verify(token)
        if forgotten != self._forgotten:  # a removed key may have verified it
            return verified.caller
        self._known[token] = verified
        if len(self._known) > KNOWN_MAX:
            del self._known[next(iter(self._known))]
        return verified.caller


def _token(sent: Sequence[str]) -> str:
    """Return the token of the Authorization headers; raise Problem 401."""
    if not sent:
        raise unauthorized("send a bearer token: Authorization: Bearer <token>")
    if len(sent) > 1:
        raise unauthorized("send one Authorization header", "invalid_request")
    token = sent[0][len(SCHEME) :].strip()  # without blanks, so one token is one entry in memory
    if sent[0][: len(SCHEME)].lower() != SCHEME or not token or len(token) > TOKEN_CHARACTERS_MAX:
        raise unauthorized(f"send a bearer token of at most {TOKEN_CHARACTERS_MAX} characters", "invalid_request")
    return token


def unauthorized(detail: str, error: str = "") -> Problem:
    """401: who calls is not known."""
    return Problem(401, "unauthorized", detail, headers=_challenge({"error": error} if error else {}))


def forbidden(detail: str, scope: str = "") -> Problem:
    """403: this caller may not do this."""
    needed = {"scope": scope} if scope else {}
    return Problem(403, "forbidden", detail, headers=_challenge({"error": "insufficient_scope", **needed}))


def _challenge(parameters: Mapping[str, str]) -> dict[str, str]:
    """Return the header that RFC 6750, section 3, asks for."""
    words = ", ".join(f'{name}="{value}"' for name, value in {"realm": "gateway", **parameters}.items())
    return {"WWW-Authenticate": f"Bearer {words}"}
