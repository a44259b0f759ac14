"""Accept requests from this page only, and forbid the page to load anything from other hosts."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECURITY: Mapping[str, str] = {
    "content-security-policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
READING = ("GET", "HEAD")
LINKABLE = ("/",)
"""Paths that other pages may link to; other paths are the page's own, as viewing opens the tap."""
SAME_ORIGIN = "same-origin"  # the default: older browsers and programs omit the header


class OriginCheck:
    """Rejects foreign host names (DNS rebinding) and requests from other origins, with 403."""

    def __init__(self, app: ASGIApp, port: int) -> None:
        self._app = app
        self._hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward the request, or reject it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(SECURITY)
            await send(message)

        problem = self._problem(scope["method"], scope["path"], Headers(scope=scope))
        app = self._app if problem is None else PlainTextResponse(problem + "\n", 403)
        await app(scope, receive, send_secured)

    def _problem(self, method: str, path: str, headers: Headers) -> str | None:
        host = headers.get("host", "")
        if host not in self._hosts:
            return "the page has another address: use the one that the launcher or ./page-address printed"
        if path not in LINKABLE and headers.get("sec-fetch-site", SAME_ORIGIN) not in (SAME_ORIGIN, "none"):
            return "only the page itself may request this"
        if method not in READING and headers.get("origin") != f"http://{host}":
            return "only the page itself may send this request"
        return None
