"""Who may use the operator's view: dead letters, the audit trail, flows by id, lag.

A request with a token is that of its caller, who needs the role `operator`. A request without one
is that of the page itself, where the page acts for every caller anyway: with the local token issuer
and without tokens. There the key of the page is enough. With another issuer, each request needs a
token.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

from starlette.requests import Request

from sidecart.edge.callers import Callers, forbidden
from sidecart.edge.issuer_keys import IssuerKeys
from sidecart.edge.rate_limits import CallerLimits
from sidecart.edge.settings import AuthSettings
from sidecart.edge.token_verifier import TokenVerifier
from sidecart.issuer import keys
from sidecart.launcher.audit import Operator

VIA = "page"
KEY_HOLDER = "the holder of the page's key"
"""Who acts without tokens (AUTH=off), in the audit trail."""


class Operators:
    """Finds the operator of each request."""

    def __init__(self, auth: AuthSettings | None, acting: str, issuer_keys: Path | None = None) -> None:
        """Verify tokens of this issuer, None to verify none.

        `acting` names the operator of a request without a token; empty to require one. The keys of
        the local issuer are read from `issuer_keys`: the page may not reach the issuer's address.
        """
        self.acting = acting
        self.keys: IssuerKeys | None = None
        self._callers: Callers | None = None
        if auth is not None:
            fetch = None if issuer_keys is None else partial(_public_keys, issuer_keys)
            self.keys = IssuerKeys(auth.issuer, auth.jwks_url, fetch)
            self._callers = Callers(TokenVerifier(auth, self.keys), CallerLimits(0, 0))
            self.keys.changed = self._callers.forget

    async def check(self, request: Request) -> Operator:
        """Return who sends a request; raise Problem 401 or 403 if it is no operator."""
        if self._callers is None or (self.acting and "authorization" not in request.headers):
            return Operator(self.acting or KEY_HOLDER, VIA)
        caller = await self._callers.of(request)
        if not caller.is_operator:
            raise forbidden("only an operator may use this part of the page")
        return Operator(caller.name, VIA)


def _public_keys(place: Path, _url: str) -> bytes:
    """Return the public keys of the local issuer, as its address serves them."""
    return json.dumps(keys.load(place).public()).encode()
