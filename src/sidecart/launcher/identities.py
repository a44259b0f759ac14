"""The identities of the sidecars of one run: who may get which certificate from sentry.

A sidecar gets the certificate of an app only with a token that names this app. The launcher signs
the tokens with a key that never leaves its memory. Sentry knows the public key.
"""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import yaml
from joserfc import jwt
from joserfc.jwk import ECKey

from sidecart.launcher.authority import LIFETIME, create_authority

TRUST_DOMAIN = "public"
"""The trust domain of sidecars outside Kubernetes (dapr 1.18.2, pkg/sentry/server/validator)."""
NAMESPACE = "default"
CONTROL_PLANE = "localhost"
"""The trust domain of sentry; the default of sentry and daprd."""
SENTRY_ID = f"spiffe://{CONTROL_PLANE}/ns/{NAMESPACE}/dapr-sentry"
ALGORITHM = "ES256"

TOKEN_SECONDS = int(LIFETIME.total_seconds())
"""As long as the authority. A sidecar reads its token again whenever it renews its certificate, so
a token must live as long as its sidecar. The key ends with the launcher, and so do its tokens.
"""


def identity_of(app_id: str) -> str:
    """Return the SPIFFE ID of an app's sidecar."""
    return f"spiffe://{TRUST_DOMAIN}/ns/{NAMESPACE}/{app_id}"


class Identities:
    """The authority and the tokens of one run, in a private folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = create_authority(CONTROL_PLANE)
        self._key = ECKey.generate_key("P-256", {"use": "sig", "alg": ALGORITHM}, private=True)
        self._key.ensure_kid()

    @property
    def credentials(self) -> Path:
        """The folder of the authority, which sentry watches for changes."""
        return self.folder / "authority"

    @property
    def sentry_configuration(self) -> Path:
        """Sentry's Configuration."""
        return self.folder / "sentry.yaml"

    def write(self) -> None:
        """Write the files of sentry, and remove those of an earlier run."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.credentials.mkdir(mode=0o700, parents=True)
        self.authority.write(self.credentials)
        keys = json.dumps({"keys": [self._key.as_dict(private=False)]})
        # Without a validator, sentry gives any identity to any caller.
        validator = {"name": "jwks", "options": {"source": keys}}
        document = {
            "apiVersion": "dapr.io/v1alpha1",
            "kind": "Configuration",
            "metadata": {"name": "sentry"},
            "spec": {"mtls": {"enabled": True, "tokenValidators": [validator]}},
        }
        self.sentry_configuration.write_text(yaml.safe_dump(document), encoding="utf-8")

    def token(self, app_id: str, seconds: int = TOKEN_SECONDS) -> str:
        """Return a token that gets the certificate of an app for this many seconds."""
        now = int(time.time())
        claims = {"sub": identity_of(app_id), "aud": SENTRY_ID, "iat": now, "exp": now + seconds}
        return jwt.encode({"alg": ALGORITHM, "kid": self._key.kid}, claims, self._key)

    def environment(self, app_id: str, sidecar: str) -> dict[str, str]:
        """Write a new token of a sidecar, and return the variables by which it proves its app."""
        tokens = self.folder / "tokens"
        tokens.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = tokens / sidecar
        file.touch(mode=0o600)
        file.write_text(self.token(app_id), encoding="ascii")
        return {
            "DAPR_TRUST_ANCHORS": self.authority.root,
            "DAPR_SENTRY_TOKEN_FILE": str(file.resolve()),
            "NAMESPACE": NAMESPACE,
        }


def mtls_flags(sentry_port: int) -> tuple[str, ...]:
    """Return daprd's flags by which a sidecar accepts only peers with a certificate."""
    return ("--enable-mtls", "--sentry-address", f"127.0.0.1:{sentry_port}")
