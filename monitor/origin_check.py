"""Who may call: pages of this address only; and what a page of ours may load, which is nothing from elsewhere."""

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
"""What a link on another page may lead to; the rest is for the page: to look is what opens the tap."""
SAME_ORIGIN = "same-origin"  # older browsers do not say it, nor do programs


class OriginCheck:
    """Refuses a name that is not ours (a foreign page whose name was made to lead here), and a foreign page's POST."""

    def __init__(self, app: ASGIApp, port: int) -> None:
        self._app = app
        self._hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, or refuse."""
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
            return "this page has another name: see what the launcher printed"
        if path not in LINKABLE and headers.get("sec-fetch-site", SAME_ORIGIN) not in (SAME_ORIGIN, "none"):
            return "only the page itself may ask for that"
        if method not in READING and headers.get("origin") != f"http://{host}":
            return "only the page itself may do that"
        return None
