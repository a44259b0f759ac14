"""A token issuer other than the local one, with a name, a port and an RSA key of its own."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from joserfc import jwt
from joserfc.jwk import RSAKey

AUDIENCE = "shop"
ALGORITHM, BITS = "RS256", 2048
SECONDS = 600


class OtherIssuer:
    """Serves its discovery document and its public key, and signs tokens; a context manager."""

    def __init__(self) -> None:
        self._key = RSAKey.generate_key(BITS, {"kid": "other", "use": "sig", "alg": ALGORITHM})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def name(self) -> str:
        """The issuer's name, which is its address too."""
        return f"http://localhost:{self._server.server_port}"

    @property
    def settings(self) -> dict[str, str]:
        """The settings of a shop that accepts its tokens."""
        return {"OIDC_ISSUER": self.name, "OIDC_AUDIENCE": AUDIENCE}

    def token(self, address: str, *, roles: Sequence[str] = (), scopes: Sequence[str] = ()) -> str:
        """Return a token for the holder of an address."""
        now = int(time.time())
        claims = {
            "iss": self.name,
            "aud": AUDIENCE,
            "sub": address,
            "email": address,
            "email_verified": True,
            "iat": now,
            "exp": now + SECONDS,
            "roles": list(roles),
            "scope": " ".join(scopes),
        }
        return jwt.encode({"alg": ALGORITHM, "kid": self._key.kid}, claims, self._key)

    def bearer(self, address: str, *, roles: Sequence[str] = (), scopes: Sequence[str] = ()) -> dict[str, str]:
        """Return the header of a request with a token."""
        return {"authorization": f"Bearer {self.token(address, roles=roles, scopes=scopes)}"}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                documents: dict[str, object] = {
                    "/.well-known/openid-configuration": {"issuer": issuer.name, "jwks_uri": f"{issuer.name}/keys"},
                    "/keys": {"keys": [issuer._key.as_dict(private=False)]},
                }
                self.send_response(200 if self.path in documents else 404)
                self.end_headers()
                self.wfile.write(json.dumps(documents.get(self.path, {})).encode())

            def log_message(self, format: str, *args: object) -> None:
                """Log nothing."""

        return Handler
