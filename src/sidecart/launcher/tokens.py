"""The tokens of one system: each process has its own, so that one app's token opens no other."""

from __future__ import annotations

import secrets

from sidecart.launcher.topology import sidecar_of

TOKEN_BYTES = 24


class Tokens(dict[str, str]):
    """Maps each app's replica and each sidecar to the token that its callers need.

    A token is created when it is first read.
    """

    def __missing__(self, name: str) -> str:
        """Create the token of a process."""
        return self.setdefault(name, secrets.token_urlsafe(TOKEN_BYTES))

    def pair(self, name: str) -> dict[str, str]:
        """Return the variables of a replica and of its sidecar: each has both tokens."""
        return {"APP_API_TOKEN": self[name], "DAPR_API_TOKEN": self[sidecar_of(name)]}
