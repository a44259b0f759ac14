"""The baseline's gateway: the product's routes, validation and pending commands.

Run it with `python -m bench.baseline.gateway`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

from aiohttp import ClientSession
from starlette.types import ASGIApp

from bench.baseline.broker import connect
from bench.baseline.direct import Direct
from bench.baseline.settings import BaselineSettings, read
from chassis.inbound import InboundApp
from chassis.serve import LoopbackProbe, run
from chassis.shutdown import ShutdownSignal
from chassis.sidecar import HttpSidecar
from edge.app import public_app
from edge.wiring import Wiring
from gateway.app import SHOP

NAME = "gateway-0"


def gateway(config: BaselineSettings) -> ASGIApp:
    """Build the baseline's gateway app."""

    @asynccontextmanager
    async def lifespan(app: InboundApp) -> AsyncIterator[None]:
        broker = connect(config.broker, config.broker_url)
        async with ClientSession() as session:
            direct = cast(HttpSidecar, Direct(config.redis_url, "gateway", broker, session, config.urls))
            wiring = Wiring.of(SHOP, direct, NAME, LoopbackProbe("replies", NAME), ShutdownSignal())
            app.state.wiring = wiring
            for topic, handle in wiring.topics().items():
                broker.on(topic, NAME, handle)
            await broker.start()
            try:
                async with wiring.run_background_tasks(0):
                    yield
            finally:
                await broker.stop()
                await cast(Direct, direct).close()

    return public_app(SHOP, lifespan)


def main() -> None:
    """Serve until SIGTERM."""
    config = read()
    run(gateway(config), config.served)


if __name__ == "__main__":
    main()
