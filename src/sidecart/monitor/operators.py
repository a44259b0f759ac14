"""Who may replay and discard dead letters.

The key of the page is enough where the page acts for every caller anyway: with the local token
issuer, and without tokens. With another issuer, a request needs an operator's token as well.
"""

from __future__ import annotations

from starlette.requests import Request

from sidecart.edge.callers import Callers, forbidden
from sidecart.edge.issuer_keys import IssuerKeys
from sidecart.edge.rate_limits import CallerLimits
from sidecart.edge.settings import AuthSettings
from sidecart.edge.token_verifier import TokenVerifier


class Operators:
    """Checks the requests of the page that change dead letters."""

    def __init__(self, auth: AuthSettings | None) -> None:
        """Require a token of this issuer; None to require none."""
        self.keys: IssuerKeys | None = None
        self._callers: Callers | None = None
        if auth is not None:
            self.keys = IssuerKeys(auth.issuer, auth.jwks_url)
            self._callers = Callers(TokenVerifier(auth, self.keys), CallerLimits(0, 0))
            self.keys.changed = self._callers.forget

    async def check(self, request: Request) -> None:
        """Raise Problem 401 or 403 for a request without the token of an operator."""
        if self._callers is None:
            return
        if not (await self._callers.of(request)).is_operator:
            raise forbidden("only an operator may replay or discard a dead letter")
