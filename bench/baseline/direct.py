"""The gateway's and the read routes' sidecar operations, without a sidecar: events, records, calls
to other services.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from aiohttp import ClientError, ClientSession, ClientTimeout

from bench.baseline.broker import Broker
from bench.baseline.store import Store
from sidecart.chassis.connections import Answer
from sidecart.chassis.errors import NotSent, SidecarTimeout, SidecarUnavailable, SidecarUnreachable
from sidecart.chassis.sidecar_api import CALL_SECONDS_MAX
from sidecart.chassis.store_health import StoreHealth


class Direct(Store):
    """One process's access to the broker, to its records and to the other services."""

    def __init__(
        self, redis_url: str, name: str, broker: Broker, session: ClientSession, urls: Mapping[str, str]
    ) -> None:
        super().__init__(redis_url, name)
        self.store = StoreHealth()
        self.store_probe = self  # the baseline does not monitor its store
        self.published_at = float("-inf")
        self.publish_block = ""  # as in Sidecar: the reason why nothing is sent
        self._broker = broker
        self._session = session
        self._urls = urls

    async def watch(self) -> None:
        """Report the store as healthy."""
        self.store.written()

    async def answers(self) -> bool:
        """Return True: there is no sidecar that could be unreachable."""
        return True

    async def publish(self, topic: str, event: bytes, seconds_max: float = CALL_SECONDS_MAX) -> None:
        """Publish an event, or raise NotSent while publishing is blocked."""
        if self.publish_block:
            raise NotSent(self.publish_block)
        await self.try_publish(topic, event, seconds_max)

    async def try_publish(self, topic: str, event: bytes, seconds_max: float = CALL_SECONDS_MAX) -> None:
        """Publish an event; return when the broker has it, or raise SidecarTimeout."""
        try:
            async with asyncio.timeout(seconds_max):
                await self._broker.publish(topic, event)
                self.published_at = asyncio.get_running_loop().time()
        except TimeoutError as error:
            raise SidecarTimeout(f"publish to {topic}: no answer within {seconds_max:.3g} s") from error
        except Exception as error:  # FastStream passes on any exception of its client library
            raise SidecarUnavailable(f"publish to {topic}: {type(error).__name__} {error}") from error

    async def invoke(self, app_id: str, path: str, seconds_max: float) -> Answer:
        """Send GET for a path of another service."""
        try:
            async with self._session.get(self._urls[app_id] + path, timeout=ClientTimeout(total=seconds_max)) as answer:
                return Answer(answer.status, await answer.read())
        except (ClientError, TimeoutError, OSError) as error:
            raise SidecarUnreachable(f"GET {path} of {app_id}: {error}") from error
