"""Poll the health and the backlog of every process while a viewer is connected."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import httpx

from sidecart.chassis.settings import LOOPBACK
from sidecart.launcher.servers.server import Broker
from sidecart.launcher.topics import Subscription
from sidecart.launcher.topology import app_for_sidecar, readers, sidecar_of

POLL_SECONDS = 2.0
ANSWER_SECONDS_MAX = 2.0
REASON_CHARACTERS_MAX = 160


@dataclass(frozen=True, slots=True)
class Health:
    """The state of a replica and its sidecar; `waiting` is its backlog, None if unknown."""

    name: str
    app: str
    sidecar: str
    waiting: int | None


class HealthPoll:
    """Queries every process and the broker once per poll."""

    def __init__(
        self,
        ports: Mapping[str, int],
        tokens: Mapping[str, str],
        broker: Broker,
        address: str,
        hosts: Mapping[str, str] = MappingProxyType({}),
        gateways: int = 1,
    ) -> None:
        """Query these ports; `hosts` names the processes that do not run on this machine.

        `gateways` may run: with more than one, each reads its own replies only.
        """
        self._hosts = hosts
        self._names = [name for name in ports if app_for_sidecar(name) is None and sidecar_of(name) in ports]
        self._ports = ports
        self._tokens = tokens
        self._broker = broker
        self._address = address
        self._reads = {name: list(readers([name], addressed=gateways > 1)) for name in self._names}

    async def poll(self, client: httpx.AsyncClient) -> list[Health]:
        """Return the health of each replica."""
        waiting, apps, sidecars = await asyncio.gather(
            asyncio.to_thread(self._waiting),
            asyncio.gather(*(self._app(client, name) for name in self._names)),
            asyncio.gather(*(self._sidecar(client, name) for name in self._names)),
        )
        return [
            Health(name, app, sidecar, None if waiting is None else sum(waiting[one] for one in self._reads[name]))
            for name, app, sidecar in zip(self._names, apps, sidecars, strict=True)
        ]

    def _waiting(self) -> dict[Subscription, int] | None:
        subscriptions = {one: None for each in self._reads.values() for one in each}
        try:
            return self._broker.waiting(self._address, list(subscriptions))
        except OSError:
            return None

    async def _app(self, client: httpx.AsyncClient, name: str) -> str:
        status, text = await self._ask(client, name, "/readyz")
        if status == 200:
            return "ready"
        return f"not ready: {text[:REASON_CHARACTERS_MAX]}" if status else "no answer"

    async def _sidecar(self, client: httpx.AsyncClient, name: str) -> str:
        status, _ = await self._ask(client, sidecar_of(name), "/v1.0/healthz")
        return "up" if status in (200, 204) else f"unhealthy: {status}" if status else "no answer"

    async def _ask(self, client: httpx.AsyncClient, process: str, path: str) -> tuple[int, str]:
        try:
            url = f"http://{self._hosts.get(process, LOOPBACK)}:{self._ports[process]}{path}"
            headers = {"dapr-api-token": self._tokens[process]}
            answer = await client.get(url, headers=headers, timeout=ANSWER_SECONDS_MAX)
        except httpx.HTTPError:
            return 0, ""
        return answer.status_code, answer.text.strip()
