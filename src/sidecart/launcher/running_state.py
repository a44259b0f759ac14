"""Access to the state of a running system's services, through their sidecars."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from sidecart.chassis.settings import LOOPBACK
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.topology import sidecar_of

SECONDS_MAX = 10.0
BULK_PARALLELISM = 10


class RunningState:
    """The state of the services; `ports` and `tokens` are those of `<app-id>-sidecar`.

    `hosts` names the sidecars that do not run on this machine.
    """

    def __init__(
        self, ports: Mapping[str, int], tokens: Mapping[str, str], hosts: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self._hosts = hosts
        self._ports = ports
        self._tokens = tokens
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def load(self, service: str, key: str) -> tuple[Any, str | None]:
        """Read one key."""
        status, body, etag = self._call(service, f"/v1.0/state/statestore/{quote(key, safe='')}")
        if status not in (200, 204):
            raise self._unreadable(service, f"{status} {body.decode(errors='replace')[:200]}")
        return (json.loads(body), etag) if body else (None, None)

    def load_many(self, service: str, keys: Sequence[str]) -> list[Any]:
        """Read many keys in one call."""
        request = json.dumps({"keys": list(keys), "parallelism": BULK_PARALLELISM}).encode()
        status, body, _ = self._call(service, "/v1.0/state/statestore/bulk", request) if keys else (200, b"[]", None)
        if status not in (200, 204):
            raise self._unreadable(service, f"{status} {body.decode(errors='replace')[:200]}")
        found = {}
        for each in json.loads(body or b"[]"):
            if each.get("error"):
                raise self._unreadable(service, f"{each['key']}: {each['error']}")
            found[each["key"]] = each.get("data")
        return [found.get(key) for key in keys]

    def save(self, service: str, key: str, value: Any, etag: str | None) -> bool:
        """Write one key; return whether the ETag was current, or, with None, the key was free.

        A conflict and a refused write have the same response, so a second read tells them apart
        (ADR 37).
        """
        write = {"key": key, "value": value, "options": {"concurrency": "first-write"}}
        if etag is not None:
            write["etag"] = etag
        status, body, _ = self._call(service, "/v1.0/state/statestore", json.dumps([write]).encode())
        if status in (200, 201, 204):
            return True
        if self.load(service, key)[1] == etag:
            problem = f"{status} {body.decode(errors='replace')[:200]}"
            raise LaunchError(f"the store of {service} refuses writes ({problem}): see ./sidecart status")
        return False

    def publish(self, app_id: str, topic: str, event: bytes, traceparent: str) -> None:
        """Publish an event as the app itself does."""
        headers = {"content-type": "application/cloudevents+json"}
        if traceparent:
            headers["traceparent"] = traceparent
        status, body, _ = self._call(app_id, f"/v1.0/publish/pubsub/{topic}", event, headers)
        if status not in (200, 204):
            raise LaunchError(f"the event was not published: {status} {body.decode(errors='replace')[:200]}")

    def _call(
        self, service: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes, str | None]:
        sidecar = sidecar_of(service)
        request = urllib.request.Request(
            f"http://{self._hosts.get(sidecar, LOOPBACK)}:{self._ports[sidecar]}{path}",
            body,
            {"content-type": "application/json", "dapr-api-token": self._tokens[sidecar], **(headers or {})},
        )
        try:
            with self._opener.open(request, timeout=SECONDS_MAX) as answer:
                return answer.status, answer.read(), answer.headers.get("ETag")
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read(), None
        except OSError as error:
            raise self._unreadable(service, str(error)) from error

    def _unreadable(self, service: str, why: str) -> LaunchError:
        return LaunchError(f"the state of {service} is unreachable ({why}): see ./sidecart status")
