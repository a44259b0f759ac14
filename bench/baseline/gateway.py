"""The baseline's gateway: the product's routes, validation and pending commands.

Run it with `python -m bench.baseline.gateway`.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

from aiohttp import ClientSession
from starlette.types import ASGIApp

from bench.baseline.broker import connect
from bench.baseline.direct import Direct
from bench.baseline.settings import BaselineSettings, read
from gateway.app import SHOP
from sidecart.chassis.server.inbound import InboundApp
from sidecart.chassis.server.loopback_probe import LoopbackProbe
from sidecart.chassis.server.serve import run
from sidecart.chassis.server.shutdown import ShutdownSignal
from sidecart.chassis.sidecar import Sidecar
from sidecart.edge import settings
from sidecart.edge.app import public_app
from sidecart.edge.wiring import Wiring

NAME = "gateway-0"


def gateway(config: BaselineSettings) -> ASGIApp:
    """Build the baseline's gateway app. It checks the tokens of the callers, as the
    product's does.
    """
    own = settings.read(os.environ)

    @asynccontextmanager
    async def lifespan(app: InboundApp) -> AsyncIterator[None]:
        broker = connect(config.broker, config.broker_url)
        async with ClientSession() as session:
            direct = cast(Sidecar, Direct(config.redis_url, "gateway", broker, session, config.urls))
            wiring = Wiring.of(SHOP, direct, LoopbackProbe("replies", NAME), ShutdownSignal(), own)
            wiring.attach(app)
            for topic, handle in wiring.topics().items():
                broker.on(topic, NAME, handle)
            await broker.start()
            try:
                async with wiring.run_background_tasks(0):
                    yield
            finally:
                await broker.stop()
                await cast(Direct, direct).close()

    return public_app(SHOP, lifespan, is_open=own.auth is None)


def main() -> None:
    """Serve until SIGTERM."""
    config = read()
    run(gateway(config), config.served)


if __name__ == "__main__":
    main()
