"""An OpenID Connect provider that is not ours (npm's `oidc-provider`), and a client of it that logs
in as a browser does.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx
from joserfc.jwk import ECKey, Key, KeySet, RSAKey

from sidecart.launcher.deadline import Deadline
from sidecart.launcher.ports import free_port, is_listening
from tests.full.node_packages import installed

FOLDER = Path(__file__).parent / "oidc"
SECONDS = 60
CALLBACK = "https://web.example/callback"
PASSWORD = "in-the-tests-only"  # of a provider on loopback that ends with the test
RSA_BITS = 2048


class OidcProvider:
    """A provider on loopback; a context manager that stops it at the end."""

    def __init__(self, folder: Path) -> None:
        """Keep the keys in a folder."""
        self._program = installed(FOLDER) / "provider.mjs"
        self._keys_file = folder / "keys.json"
        self._log = folder / "provider.log"
        self._port = free_port()
        self._keys: list[Key] = []
        self._process: subprocess.Popen[bytes] | None = None
        self.issuer = f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        self.start(new_keys())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def keys(self) -> list[Key]:
        """The signing keys; the first of each kind signs."""
        return self._keys

    def start(self, keys: Sequence[Key] = ()) -> None:
        """Start the provider with other keys, or with those that it had."""
        self._keys = list(keys) or self._keys
        self._keys_file.write_text(json.dumps(KeySet(self._keys).as_dict(private=True)))
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                ["node", str(self._program), str(self._port), str(self._keys_file)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )
        process = self._process
        Deadline().until(lambda: is_listening(self._port) or process.poll() is not None, SECONDS, self._log.read_text)
        assert process.poll() is None, self._log.read_text()

    def stop(self) -> None:
        """Stop the provider: it ends with its stdin."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(SECONDS)
        finally:
            process.kill()

    def user_tokens(self, address: str, audience: str | None, client_id: str = "web") -> dict[str, Any]:
        """Log in with the authorization code flow and PKCE; return the token endpoint's answer."""
        verifier = secrets.token_urlsafe(48)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        resource = {} if audience is None else {"resource": audience}
        asked = {
            "client_id": client_id,
            "redirect_uri": CALLBACK,
            "response_type": "code",
            "scope": "openid email",
            "state": secrets.token_urlsafe(16),
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        with httpx.Client(base_url=self.issuer, timeout=SECONDS, trust_env=False) as browser:
            found = self._authorized(browser, asked | resource, address)
            assert (asked["state"], self.issuer) == (found["state"][0], found["iss"][0])
            exchange = {"grant_type": "authorization_code", "code": found["code"][0], "code_verifier": verifier}
            return _tokens(browser.post("/token", data={**exchange, "client_id": client_id, "redirect_uri": CALLBACK}))

    def client_token(self, audience: str, scope: str) -> str:
        """Return the access token of the payment provider (client credentials)."""
        asked = {"grant_type": "client_credentials", "resource": audience, **({"scope": scope} if scope else {})}
        with httpx.Client(base_url=self.issuer, timeout=SECONDS, trust_env=False) as http:
            return str(_tokens(http.post("/token", data=asked, auth=("payments", PASSWORD)))["access_token"])

    def _authorized(self, browser: httpx.Client, asked: dict[str, str], address: str) -> dict[str, list[str]]:
        """Follow the redirects to the login form and back; return the callback's parameters."""
        answer = browser.get("/auth", params=asked)
        while not (answer.is_redirect and answer.headers["location"].startswith(CALLBACK)):
            if answer.is_redirect:
                answer = browser.get(urljoin(str(answer.url), answer.headers["location"]))
            else:
                action = re.search(r'<form method="post" action="([^"]+)"', answer.text)
                assert 200 == answer.status_code, answer.text
                assert action is not None, answer.text
                answer = browser.post(action[1], data={"email": address, "password": PASSWORD})
        return parse_qs(urlsplit(answer.headers["location"]).query)


def new_keys() -> list[Key]:
    """Return a pair of signing keys for RS256 and ES256."""
    names = (secrets.token_hex(4), secrets.token_hex(4))
    return [
        RSAKey.generate_key(RSA_BITS, {"kid": f"rsa-{names[0]}", "alg": "RS256", "use": "sig"}),
        ECKey.generate_key("P-256", {"kid": f"ec-{names[1]}", "alg": "ES256", "use": "sig"}),
    ]


def _tokens(answer: httpx.Response) -> dict[str, Any]:
    assert 200 == answer.status_code, answer.text
    found: dict[str, Any] = answer.json()
    return found
