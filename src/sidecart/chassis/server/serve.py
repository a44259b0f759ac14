"""Serves an app: token check, subscriptions, reads, health and readiness.

Readiness needs a probe event that returned through the broker; health follows the store.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import msgspec
import uvicorn
from fastapi import Request, Response
from starlette.types import ASGIApp

from sidecart.chassis.dead_letters import DeadLetters
from sidecart.chassis.erasure import Erase, ErasingProcessor
from sidecart.chassis.errors import TransientError
from sidecart.chassis.events import now
from sidecart.chassis.processor import EventProcessor
from sidecart.chassis.server.connection_limit import FILES_OF_ITS_OWN, ConnectionLimit, raise_file_limit
from sidecart.chassis.server.inbound import InboundApp, SidecarAuth, Subscription
from sidecart.chassis.server.listen import bound
from sidecart.chassis.server.loopback_probe import LoopbackProbe
from sidecart.chassis.server.metrics_server import serve_metrics
from sidecart.chassis.server.protocol import BoundedHttp
from sidecart.chassis.server.shutdown import GracefulServer, ShutdownSignal
from sidecart.chassis.service import Service
from sidecart.chassis.settings import Settings
from sidecart.chassis.sidecar import Sidecar, connect
from sidecart.chassis.speculation import SpeculativeProcessor
from sidecart.chassis.telemetry import logs
from sidecart.chassis.telemetry.tracing import traced

log = logging.getLogger(__name__)

HEALTH = "/healthz"  # the only route without the app token
INBOX = "inbox"  # the pub/sub component that a service subscribes on
# The client must close an idle connection first: if the server does, it loses a request that the
# client is just writing. daprd keeps idle connections for 90 s (Go's http.DefaultTransport, which
# its app channel clones); most other clients keep them for less.
KEEP_ALIVE_SECONDS = 120
HEALTH_CALL_SECONDS_MAX = 0.4  # two of them within the 900 ms limit of /healthz
GC_OBJECTS = 10_000
Processor: type[EventProcessor[Any, Any]] = SpeculativeProcessor  # or EventProcessor, with one more load per event
STOP_SECONDS_MAX = 15  # for requests in progress at SIGTERM; longer than a sidecar call


@dataclass(frozen=True, slots=True)
class Read:
    """One GET route that a service answers by invocation.

    `find` gets the path parameters and returns JSON, or None for a 404.
    """

    path: str
    find: Callable[[Mapping[str, str]], Awaitable[bytes | None]]


@dataclass(frozen=True, slots=True)
class ServiceWiring:
    """The subscriptions and reads of a service, and its background work, if any.

    Background work runs until the app stops.
    """

    subscriptions: Sequence[Subscription]
    reads: Sequence[Read] = ()
    background_tasks: Callable[[DeadLetters], Awaitable[None]] | None = None


WireService = Callable[[Sidecar], ServiceWiring]


def service_app(name: str, settings: Settings, wire: WireService) -> ASGIApp:
    """Build the app of one service: its subscriptions, its reads, /healthz and /readyz.

    `wire` gets the sidecar at startup and returns the wiring.
    """
    probe = LoopbackProbe(INBOX, name)

    @asynccontextmanager
    async def lifespan(app: InboundApp) -> AsyncIterator[None]:
        async with connect(
            settings.dapr_http_port, settings.dapr_api_token, settings.dapr_host, settings.dapr_grpc_port
        ) as sidecar:
            app.state.sidecar = sidecar
            wired, dead_letters = wire(sidecar), DeadLetters(sidecar, now)
            probe_subscription = Subscription(probe.component, probe.topic, probe.handle)
            subscriptions = [replace(each, store=sidecar.store) for each in wired.subscriptions]
            app.subscribe([*subscriptions, probe_subscription], dead_letters)
            for read in wired.reads:
                app.add_api_route(read.path, reader(read), methods=["GET"])
            async with AsyncExitStack() as stack:
                await stack.enter_async_context(traced(name))
                await stack.enter_async_context(background(sidecar.store_probe.watch()))
                await stack.enter_async_context(background(sidecar.publish_components.find()))
                await stack.enter_async_context(background(probe.send_until_returned(sidecar)))
                if wired.background_tasks is not None:
                    await stack.enter_async_context(background(wired.background_tasks(dead_letters)))
                yield

    app = InboundApp(title=name, lifespan=lifespan, openapi_url=None)

    _add_health_routes(app, probe)
    return SidecarAuth(app, settings.app_api_token, public=HEALTH)


def _add_health_routes(app: InboundApp, probe: LoopbackProbe) -> None:
    @app.get(HEALTH)
    async def healthz() -> Response:
        sidecar: Sidecar = app.state.sidecar
        # Probe now, so that a recovered store makes the app healthy without a delay.
        if sidecar.store.is_unreachable and not sidecar.store.write_refusal:
            await sidecar.store_probe.answers(HEALTH_CALL_SECONDS_MAX)
        if not sidecar.store.is_healthy:
            return Response(f"{sidecar.store.problem}\n", 503)
        return Response("alive\n")

    @app.get("/readyz")
    async def readyz() -> Response:
        missing = [] if probe.has_returned else [f"{probe.topic} did not come back yet"]
        if problem := app.state.sidecar.store.problem:
            missing.append(problem)
        return Response(
            msgspec.json.encode({"missing": missing}), 503 if missing else 200, media_type="application/json"
        )


def inbox(service: Service[Any, Any], sidecar: Sidecar, erase_more: Erase | None = None) -> list[Subscription]:
    """Return the subscriptions to a service's inputs, with one event processor for all of them.

    `erase_more` erases what the records and the dead letters do not hold.
    """
    processor = Processor(service, sidecar, now)
    erasing = ErasingProcessor(service, processor, DeadLetters(sidecar, now), erase_more)
    return [
        Subscription(INBOX, topic, partial((erasing if topic in service.erasures else processor).process, topic))
        for topic in service.inputs
    ]


def reader(read: Read) -> Callable[[Request], Awaitable[Response]]:
    """Return the endpoint of a read: 404 if nothing is found, 503 if the store is unreachable."""

    async def answer(request: Request) -> Response:
        try:
            body = await read.find(request.path_params)
        except TransientError as fault:
            log.warning("read %s: %s", read.path, fault)
            return Response(status_code=503)
        if body is None:
            return Response(b"{}", 404, media_type="application/json")
        return Response(body, media_type="application/json")

    return answer


def unfinished(ids: Sequence[str], ended: Sequence[bool]) -> bytes:
    """Return the body of `/unfinished/<kind>/<ids>`: the ids of this service's unfinished flows."""
    return msgspec.json.encode({"unfinished": [each for each, has in zip(ids, ended, strict=True) if not has]})


@asynccontextmanager
async def background(work: Awaitable[None]) -> AsyncIterator[None]:
    """Run `work` concurrently with the block, and cancel it when the block ends."""
    task = asyncio.ensure_future(work)
    task.add_done_callback(_log_failure)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def _log_failure(task: asyncio.Future[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("background task failed: %r", error)


def server_config(app: ASGIApp, settings: Settings, limit: ConnectionLimit | None = None) -> uvicorn.Config:
    """Return the uvicorn configuration of every app."""
    protocol = type("LimitedHttp", (BoundedHttp,), {"__slots__": (), "limit": limit})
    return uvicorn.Config(
        app,
        host=settings.app_host,
        port=settings.app_port,
        loop="uvloop",
        http=protocol,
        ws="none",
        lifespan="on",
        access_log=False,
        proxy_headers=False,  # no code reads the client's address, and no header may forge it
        server_header=False,
        log_config=None,  # uvicorn logs through the handlers that `logs.configure` sets
        log_level="warning",
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS_MAX,
    )


def connection_limit(settings: Settings) -> ConnectionLimit:
    """Raise the limit of open files, and return the limit of connections that fits it."""
    files = max(1, raise_file_limit() - FILES_OF_ITS_OWN)
    total = min(settings.connections_max, files)
    return ConnectionLimit(total, settings.connections_per_address_max, settings.trusted_proxies)


def _collect_less_often() -> None:
    """Exempt imported objects from garbage collection, and collect every `GC_OBJECTS` objects.

    The default is every 700, and each request creates hundreds of objects that reference counting
    frees.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_OBJECTS, 20, 50)


def run(app: ASGIApp, settings: Settings, shutdown: ShutdownSignal | None = None, drain_seconds: float = 0) -> None:
    """Serve until SIGTERM or SIGINT, then finish the requests in progress and return.

    The signal sets `shutdown`; the server then accepts new connections for `drain_seconds` more.
    """
    logs.configure(settings.log_format, settings.log_level)
    # Bind before the app starts: a port in use then costs one line, and no lifespan has to be
    # undone.
    listeners = bound("APP_PORT", settings.app_host, settings.app_port)
    metrics_port = settings.metrics_port
    metrics = [] if metrics_port is None else bound("METRICS_PORT", settings.metrics_host, metrics_port)
    limit = connection_limit(settings)
    server = GracefulServer(
        server_config(app, settings, limit), shutdown or ShutdownSignal(), drain_seconds, serve_metrics(metrics)
    )
    _collect_less_often()
    with suppress(KeyboardInterrupt):  # uvicorn raises the signal again after it has stopped
        server.run(listeners)
    if not server.started:
        raise SystemExit(3)  # uvicorn's exit code for a failed startup
