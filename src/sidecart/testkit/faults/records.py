"""Records of the services, read through their sidecars, for data that no public interface shows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import httpx

from sidecart.launcher.lifecycle.system import System
from sidecart.launcher.topology import sidecar_of

KEYS_AT_ONCE = 200
PARALLELISM = 10
SECONDS_MAX = 60.0


class Records:
    """The state of one system's services."""

    def __init__(self, system: System) -> None:
        self._system = system

    def load(self, service: str, keys: Iterable[str]) -> dict[str, Any]:
        """Return a service's records by key, without keys that do not exist.

        Raises httpx.HTTPError if a record cannot be read.
        """
        requested = list(keys)
        found: dict[str, Any] = {}
        for first in range(0, len(requested), KEYS_AT_ONCE):
            found |= self._some(service, requested[first : first + KEYS_AT_ONCE])
        return found

    def states(self, service: str, keys: Iterable[str]) -> dict[str, Any]:
        """Return the state in each of these primary records (contracts/WIRE.md, section 7)."""
        return {key: record["state"] or {} for key, record in self.load(service, keys).items()}

    def _some(self, service: str, keys: Sequence[str]) -> dict[str, Any]:
        answer = httpx.post(
            f"http://127.0.0.1:{self._system.ports[sidecar_of(service)]}/v1.0/state/statestore/bulk",
            content=json.dumps({"keys": keys, "parallelism": PARALLELISM}),
            headers={"dapr-api-token": self._system.tokens[sidecar_of(service)], "content-type": "application/json"},
            timeout=SECONDS_MAX,
            trust_env=False,
        )
        entries = answer.raise_for_status().json()
        broken = [f"{each['key']}: {each['error']}" for each in entries if each.get("error")]
        if broken:
            raise httpx.HTTPError(f"{len(broken)} records of {service} cannot be read: {broken[0]}")
        return {each["key"]: each["data"] for each in entries if each.get("data") is not None}
