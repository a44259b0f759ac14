"""Serves an app: token check, subscriptions, reads, health and readiness.

Readiness needs a probe event that returned through the broker; health follows the store.
"""

from __future__ import annotations

import asyncio
import gc
import hmac
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import msgspec
import uvicorn
from fastapi import Request, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from sidecart.chassis.dead_letters import DeadLetters
from sidecart.chassis.errors import TransientError, WriteRefused
from sidecart.chassis.events import CloudEvent, timestamp
from sidecart.chassis.processor import EventProcessor
from sidecart.chassis.server.inbound import InboundApp, Subscription
from sidecart.chassis.server.listen import bound
from sidecart.chassis.server.metrics_server import serve_metrics
from sidecart.chassis.server.protocol import BoundedHttp
from sidecart.chassis.server.request_body import RequestBody
from sidecart.chassis.server.shutdown import GracefulServer, ShutdownSignal
from sidecart.chassis.service import Service
from sidecart.chassis.settings import Settings
from sidecart.chassis.sidecar import HttpSidecar, connect
from sidecart.chassis.speculation import SpeculativeProcessor
from sidecart.chassis.telemetry import logs
from sidecart.chassis.telemetry.tracing import traced

log = logging.getLogger(__name__)

INBOX = "inbox"  # the pub/sub component that a service subscribes on
PROBE_SECONDS = 1.0  # between two probe events: the first ones may precede the queue
# The client must close an idle connection first: if the server does, it loses a request that the
# client is just writing. daprd keeps idle connections for 90 s (Go's http.DefaultTransport, which
# its app channel clones); most other clients keep them for less.
KEEP_ALIVE_SECONDS = 120
HEALTH_CALL_SECONDS_MAX = 0.4  # two of them within the 900 ms limit of /healthz
GC_OBJECTS = 10_000
Processor: type[EventProcessor[Any, Any]] = SpeculativeProcessor  # or EventProcessor, with one more load per event
STOP_SECONDS_MAX = 15  # for requests in progress at SIGTERM; longer than a sidecar call


def now() -> datetime:
    """Return the current time in UTC; an app has no other clock."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Read:
    """One GET route that a service answers by invocation.

    `find` gets the path parameters and returns JSON, or None for a 404.
    """

    path: str
    find: Callable[[Mapping[str, str]], Awaitable[bytes | None]]


class SidecarAuth:
    """Middleware that answers 403 to a request for a protected path without the app token.

    It runs before all other code of the app.
    """

    def __init__(self, app: ASGIApp, token: str, is_protected: Callable[[str], bool]) -> None:
        self._app = app
        self._token = token.encode()
        self._is_protected = is_protected

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 403."""
        if scope["type"] == "http" and self._is_protected(scope["path"]) and not self._has_token(scope):
            refusal = Response("this route is for the sidecar: the dapr-api-token header is missing or wrong\n", 403)
            await RequestBody(receive).drain(scope)
            await refusal(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _has_token(self, scope: Scope) -> bool:
        tokens = [value for name, value in scope["headers"] if name == b"dapr-api-token"]
        return len(tokens) == 1 and hmac.compare_digest(tokens[0], self._token)


class LoopbackProbe:
    """An event that an app sends to itself.

    Its return proves that publishing and delivery through the broker both work.
    """

    def __init__(self, component: str, name: str) -> None:
        self.component = component
        self.topic = f"Probe-{name}"
        self._name = name
        self._returned = asyncio.Event()

    @property
    def has_returned(self) -> bool:
        """Return whether a probe event has returned since this process started."""
        return self._returned.is_set()

    async def handle(self, _body: bytes) -> None:
        """Accept a returned probe event."""
        self._returned.set()

    def event(self) -> bytes:
        """Return a new probe event, encoded for publishing."""
        probe_id = str(uuid.uuid4())
        event = CloudEvent(
            id=probe_id,
            type=self.topic,
            source=self._name,
            subject=self._name,
            correlationid=probe_id,
            time=timestamp(now()),
            data=msgspec.Raw(b"{}"),
        )
        return msgspec.json.encode(event)

    async def send_until_returned(self, sidecar: HttpSidecar) -> None:
        """Publish a probe event every `PROBE_SECONDS` until one returns."""
        while not self.has_returned:
            with suppress(TransientError):  # the sidecar may still be starting
                await sidecar.publish(self.topic, self.event())
            with suppress(TimeoutError):  # not wait_for: in 3.11 it may swallow a cancellation
                async with asyncio.timeout(PROBE_SECONDS):
                    await self._returned.wait()


@dataclass(frozen=True, slots=True)
class ServiceWiring:
    """The subscriptions and reads of a service, and its background work, if any.

    Background work runs until the app stops.
    """

    subscriptions: Sequence[Subscription]
    reads: Sequence[Read] = ()
    background_tasks: Callable[[DeadLetters], Awaitable[None]] | None = None


WireService = Callable[[HttpSidecar], ServiceWiring]


def service_app(name: str, settings: Settings, wire: WireService) -> ASGIApp:
    """Build the app of one service: its subscriptions, its reads, /healthz and /readyz.

    `wire` gets the sidecar at startup and returns the wiring.
    """
    probe = LoopbackProbe(INBOX, name)

    @asynccontextmanager
    async def lifespan(app: InboundApp) -> AsyncIterator[None]:
        async with connect(settings.dapr_http_port, settings.dapr_api_token, settings.dapr_host) as sidecar:
            app.state.sidecar = sidecar
            wired, dead_letters = wire(sidecar), DeadLetters(sidecar, now)
            probe_subscription = Subscription(probe.component, probe.topic, probe.handle)
            subscriptions = [_paused_while_refused(sidecar, each) for each in wired.subscriptions]
            app.subscribe([*subscriptions, probe_subscription], dead_letters)
            for read in wired.reads:
                app.add_api_route(read.path, reader(read), methods=["GET"])
            async with AsyncExitStack() as stack:
                await stack.enter_async_context(traced(name))
                await stack.enter_async_context(background(sidecar.watch_store()))
                await stack.enter_async_context(background(probe.send_until_returned(sidecar)))
                if wired.background_tasks is not None:
                    await stack.enter_async_context(background(wired.background_tasks(dead_letters)))
                yield

    app = InboundApp(title=name, lifespan=lifespan, openapi_url=None)

    @app.get("/healthz")
    async def healthz() -> Response:
        sidecar: HttpSidecar = app.state.sidecar
        # Probe now, so that a recovered store makes the app healthy without a delay.
        if sidecar.store.is_unreachable and not sidecar.store.write_refusal:
            await sidecar.store_answers(HEALTH_CALL_SECONDS_MAX)
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

    return SidecarAuth(app, settings.app_api_token, lambda path: path != "/healthz")


def _paused_while_refused(sidecar: HttpSidecar, subscription: Subscription) -> Subscription:
    """Wrap a subscription so that it returns each event at once while the store refuses writes.

    The sidecar redelivers such an event a second later. In that time the app sends, publishes and
    mails nothing whose result it could not record.
    """

    def handle(body: bytes) -> Awaitable[None]:
        if sidecar.store.write_refusal:
            raise WriteRefused(sidecar.store.problem)
        return subscription.handle(body)

    return replace(subscription, handle=handle)


def inbox(service: Service[Any, Any], sidecar: HttpSidecar) -> list[Subscription]:
    """Return the subscriptions to a service's inputs, with one event processor for all of them."""
    processor = Processor(service, sidecar, now)
    return [Subscription(INBOX, topic, partial(processor.process, topic)) for topic in service.inputs]


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


def server_config(app: ASGIApp, settings: Settings) -> uvicorn.Config:
    """Return the uvicorn configuration of every app."""
    return uvicorn.Config(
        app,
        host=settings.app_host,
        port=settings.app_port,
        loop="uvloop",
        http=BoundedHttp,
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
    server = GracefulServer(
        server_config(app, settings), shutdown or ShutdownSignal(), drain_seconds, serve_metrics(metrics)
    )
    _collect_less_often()
    with suppress(KeyboardInterrupt):  # uvicorn raises the signal again after it has stopped
        server.run(listeners)
    if not server.started:
        raise SystemExit(3)  # uvicorn's exit code for a failed startup
