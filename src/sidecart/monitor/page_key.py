"""The key of the live page: it is in the address that the launcher prints, and then in a cookie.

Each process of the machine can connect to the page's port. The page answers those that have the
key.
"""

from __future__ import annotations

import hmac
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from sidecart.launcher.monitor import KEY_PARAMETER

INDEX = "/"
WITHOUT_KEY = ("/healthz",)
LOCKED = """\
open the address that the launcher printed; ./sidecart status prints it again, in containers ./page-address
"""


class PageKey:
    """Middleware that answers 403 to a request without the key."""

    def __init__(self, app: ASGIApp, port: int, key: str) -> None:
        """Require `key`; cookies do not differ by port, so the cookie's name contains it."""
        self._app = app
        self._key = key.encode()
        self._cookie = f"sidecart-page-{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward the request, exchange the key of an address for a cookie, or reject it."""
        app = self._app
        if scope["type"] == "http" and scope["path"] not in WITHOUT_KEY:
            if scope["path"] == INDEX and self._is_key(_parameter(scope["query_string"])):
                app = self._admitted()
            elif not any(map(self._is_key, self._cookies(Headers(scope=scope)))):
                app = PlainTextResponse(LOCKED, 403)
        await app(scope, receive, send)

    def _is_key(self, sent: str) -> bool:
        return hmac.compare_digest(sent.encode(), self._key)

    def _cookies(self, headers: Headers) -> list[str]:
        """Return the values of the page's cookie.

        Other servers of this machine set cookies for the same host, of any form and name. The
        standard library takes seconds to unquote some of them; the key needs no quotes.
        """
        pairs = [pair.partition("=") for line in headers.getlist("cookie") for pair in line.split(";")]
        return [value.strip() for name, _, value in pairs if name.strip() == self._cookie]

    def _admitted(self) -> Response:
        """Redirect to the address without the key, which browsers would keep and show."""
        response = RedirectResponse(INDEX, 303, {"cache-control": "no-store"})
        response.set_cookie(self._cookie, self._key.decode(), httponly=True, samesite="strict")
        return response


def _parameter(query: bytes) -> str:
    return parse_qs(query.decode("latin-1")).get(KEY_PARAMETER, [""])[0]
