"""One service of the baseline: load the record, decide, save it, publish.

Run it with `python -m bench.baseline.service order`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import cast

from aiohttp import ClientSession
from fastapi import FastAPI, Response

from bench.baseline.broker import Broker, connect
from bench.baseline.direct import Direct
from bench.baseline.handler import Handler
from bench.baseline.settings import BaselineSettings, read
from services.notification import app as notification
from services.notification import settings as notification_settings
from services.order import app as order
from services.order import settings as order_settings
from sidecart.chassis.dead_letters import DeadLetters
from sidecart.chassis.errors import PermanentError
from sidecart.chassis.events import now
from sidecart.chassis.server.serve import background, reader, run
from sidecart.chassis.sidecar import Sidecar
from sidecart.launcher.ports import is_listening
from sidecart.testkit.programs import Program, read_program

log = logging.getLogger(__name__)

LISTENING_SECONDS = 0.01  # interval between two checks whether the server listens


async def _process_or_drop(topic: str, process: Callable[[bytes], Awaitable[None]], body: bytes) -> None:
    """Process an event; log and drop a permanent failure: the baseline has no dead letters."""
    try:
        await process(body)
    except PermanentError as fault:
        log.error("dropped: %s: %s", topic, fault)


def _order() -> Program:
    own = order_settings.read(os.environ)
    return Program(order.service(own.pay_within, own.price_list.prices), partial(order.wire, own))


def _notification() -> Program:
    settings = notification_settings.read(os.environ)
    service = notification.service(settings.currency, settings.mails_per_hour)
    return Program(service, partial(notification.wire, settings))


WITH_SETTINGS: Mapping[str, Callable[[], Program]] = {"order": _order, "notification": _notification}
"""The services whose wiring needs settings; every other service needs no line here."""


def program_of(name: str) -> Program:
    """Return the service as the product's app describes it, and the factory of its read routes."""
    if name in WITH_SETTINGS:
        return WITH_SETTINGS[name]()
    return read_program(name, "bench/baseline/service.py: WITH_SETTINGS")


def app(name: str, config: BaselineSettings) -> FastAPI:
    """Build the service's app: it reads events while it runs, and answers GET requests."""
    program = program_of(name)
    service = program.service

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        broker = connect(config.broker, config.broker_url)
        async with ClientSession() as session:
            direct = Direct(config.redis_url, name, broker, session, config.urls)
            wired = program.wire(cast(Sidecar, direct))
            handler = Handler(service, direct)
            for subscription in wired.subscriptions:
                topic = subscription.topic
                process = partial(handler.handle, topic) if topic in service.inputs else subscription.handle
                broker.on(topic, name, partial(_process_or_drop, topic, process))
            for read in wired.reads:
                app.add_api_route(read.path, reader(read), methods=["GET"])
            try:
                async with AsyncExitStack() as works:
                    await works.enter_async_context(background(read_events(broker)))
                    if wired.background_tasks is not None:
                        background_work = wired.background_tasks(DeadLetters(cast(Sidecar, direct), now))
                        await works.enter_async_context(background(background_work))
                    yield
            finally:
                await broker.stop()
                await direct.close()

    async def read_events(broker: Broker) -> None:
        # A client that learns of an order from this app may request that order at once.
        while not is_listening(config.port):  # noqa: ASYNC110 - a server that starts to listen sets no event
            await asyncio.sleep(LISTENING_SECONDS)
        await broker.start()
        reads.set()

    reads = asyncio.Event()
    app = FastAPI(lifespan=lifespan, openapi_url=None)

    @app.get("/readyz")
    async def readyz() -> Response:
        return Response(status_code=200 if reads.is_set() else 503)

    return app


def main() -> None:
    """Serve one service until SIGTERM."""
    config = read()
    run(app(sys.argv[1], config), config.served)


if __name__ == "__main__":
    main()
