"""The lag of every consumer, what the broker keeps, and the flows that do not end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import httpx
import msgspec

from sidecart.chassis.settings import LOOPBACK
from sidecart.launcher.servers.brokers import BROKERS
from sidecart.launcher.servers.lag import ConsumerLag, KeptEvents
from sidecart.launcher.topics import GATEWAY, read_topics
from sidecart.launcher.topology import app_for_sidecar, app_of, readers
from sidecart.launcher.unfinished import Unfinished, stuck_path
from sidecart.monitor.settings import Settings

KEPT_SECONDS = 5.0
"""Several viewers share one answer for this long."""
ANSWER_SECONDS_MAX = 5.0
STUCK_SHOWN_MAX = 50


class _Flows(msgspec.Struct):
    flows: list[Unfinished]


@dataclass(frozen=True, slots=True)
class Lag:
    """One answer of the broker and of the gateways."""

    consumers: list[ConsumerLag] = field(default_factory=list)
    kept: list[KeptEvents] = field(default_factory=list)
    stuck: list[Unfinished] = field(default_factory=list)
    """The flows that have not ended within STUCK_SECONDS, oldest first."""
    stuck_total: int = 0
    problems: list[str] = field(default_factory=list)
    """Each source that could not be read, with the reason."""


class LagPoll:
    """Asks the broker and the gateways, at most once in KEPT_SECONDS."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        names = [name for name in settings.ports if app_for_sidecar(name) is None]
        self._gateways = [name for name in names if app_of(name) == GATEWAY]
        self._expected = list(readers(names, addressed=settings.gateways > 1))
        self._lock = asyncio.Lock()
        self._newest: tuple[float, Lag] | None = None

    async def read(self) -> Lag:
        """Return the newest answer."""
        async with self._lock:
            if self._newest is None or time.monotonic() - self._newest[0] > KEPT_SECONDS:
                self._newest = time.monotonic(), await self._ask()
            return self._newest[1]

    async def _ask(self) -> Lag:
        problems: list[str] = []
        (consumers, kept), flows = await asyncio.gather(self._broker(problems), self._stuck(problems))
        shown = sorted(flows, key=lambda each: each.at)
        # The gateways' own streams come after those of the documented topics.
        known = list(read_topics())
        kept.sort(key=lambda each: known.index(each.topic) if each.topic in known else len(known))
        return Lag(consumers, kept, shown[:STUCK_SHOWN_MAX], len(shown), problems)

    async def _broker(self, problems: list[str]) -> tuple[list[ConsumerLag], list[KeptEvents]]:
        broker = BROKERS[self._settings.broker]
        try:
            found = await asyncio.to_thread(broker.lag, self._settings.broker_address, self._expected)
        except OSError as error:
            problems.append(f"the broker does not tell its lag: {error}")
            return [], []
        return found.consumers, found.kept

    async def _stuck(self, problems: list[str]) -> Sequence[Unfinished]:
        """Return the stuck flows of all gateways; one that several know counts once."""
        found: dict[str, Unfinished] = {}
        async with httpx.AsyncClient(trust_env=False, timeout=ANSWER_SECONDS_MAX) as client:
            for name in self._gateways:
                url = f"http://{self._settings.hosts.get(name, LOOPBACK)}:{self._settings.ports[name]}{stuck_path()}"
                try:
                    answer = await client.get(url, headers={"dapr-api-token": self._settings.tokens[name]})
                    flows = msgspec.json.decode(answer.raise_for_status().content, type=_Flows).flows
                except (httpx.HTTPError, ValueError) as error:
                    problems.append(f"{name} does not list its flows: {type(error).__name__}")
                    continue
                found |= {flow.id: flow for flow in flows}
        return list(found.values())
