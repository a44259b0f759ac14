"""Which host names and which web pages may reach the gateway.

A browser sends the name in its address bar as Host. A web page whose name was made to resolve to
this machine (DNS rebinding) therefore sends a foreign Host. A page that calls the gateway directly
sends its own origin. Programs send no Origin.
"""

from __future__ import annotations

from collections.abc import Sequence, Set

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from sidecart.chassis.server.request_body import RequestBody
from sidecart.chassis.server.request_head import host_name
from sidecart.chassis.telemetry.metrics import ANSWERED, OTHER
from sidecart.edge.problems import Problem

CALLED_WITH = ("content-type", "idempotency-key", "prefer", "traceparent")
"""The request headers of the API. A page of an allowed origin may send them."""
ACCEPTED_MAX = 256
READ_BY_PAGES = ("location", "retry-after", "preference-applied", "idempotency-key")
"""The response headers of the API. A page of an allowed origin may read them."""


class OriginCheck:
    """Middleware that answers 421 to a foreign Host and 403 to a foreign Origin."""

    def __init__(
        self, app: ASGIApp, hosts: Set[str], origins: Sequence[str] = (), exempt: tuple[str, ...] = ()
    ) -> None:
        """Accept requests to one of `hosts` (names without a port), and pages of `origins`.

        The paths that begin with one of `exempt` are not checked.
        """
        self._app = _with_cors(app, origins) if origins else app
        self._hosts = hosts
        self._origins = frozenset(origins)
        self._exempt = exempt
        self.accepted: set[bytes] = set()
        """Host headers that were accepted, for the PublicGate before this check."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or reject it."""
        is_exempt = scope["type"] != "http" or scope["path"].startswith(self._exempt)
        problem = None if is_exempt else self._problem(scope)
        if problem is None:
            await self._app(scope, receive, send)
        else:
            ANSWERED[OTHER, problem.status].inc()
            await RequestBody(receive).drain(scope)
            await problem.response()(scope, receive, send)

    def _problem(self, scope: Scope) -> Problem | None:
        host, origins = "", []
        for name, value in scope["headers"]:
            if name == b"host":
                host = value.decode("latin-1").lower()
            elif name == b"origin":
                origins.append(value.decode("latin-1").lower())
        if host and host_name(host) not in self._hosts:  # HTTP/1.0 needs no Host, and no browser sends it
            return Problem(421, "unknown_host", "the gateway has another name; ALLOWED_HOSTS lists its names")
        # A page of the gateway itself (/docs) has the gateway's host, behind a proxy with TLS too.
        if not all(origin in (f"https://{host}", f"http://{host}") or origin in self._origins for origin in origins):
            return Problem(403, "foreign_origin", "a page of this origin may not call the gateway; see CORS_ORIGINS")
        if len(self.accepted) < ACCEPTED_MAX:
            self.accepted.add(host.encode("latin-1"))
        return None


def _with_cors(app: ASGIApp, origins: Sequence[str]) -> ASGIApp:
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=("GET", "HEAD", "POST", "DELETE"),
        allow_headers=CALLED_WITH,
        expose_headers=READ_BY_PAGES,
    )
