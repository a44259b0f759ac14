"""Serving: the sidecar's routes behind a token, subscriptions, readiness by a probe event, health by the store."""

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

import msgspec
import uvicorn
from fastapi import Request, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from chassis import logs
from chassis.dead_letters import DeadLetters
from chassis.errors import TransientError, WriteRefused
from chassis.events import CloudEvent, timestamp
from chassis.inbound import InboundApp, Subscription
from chassis.listen import bound
from chassis.metrics_server import serve_metrics
from chassis.protocol import BoundedHttp
from chassis.request_body import RequestBody
from chassis.settings import Settings
from chassis.shutdown import GracefulServer, ShutdownSignal
from chassis.sidecar import HttpSidecar, connect
from chassis.tracing import traced

log = logging.getLogger(__name__)

INBOX = "inbox"  # the component that a service reads by
PROBE_SECONDS = 1.0  # between two probe events: the first ones may find no queue yet
# The caller must be the one who closes an idle connection: if the server does, a request just being written to it is
# lost. daprd keeps idle ones for 90 s (Go's http.DefaultTransport, which its app channel clones), most others less.
KEEP_ALIVE_SECONDS = 120
HEALTH_CALL_SECONDS_MAX = 0.4  # two of them within the 900 ms that the sidecar waits for /healthz
GC_OBJECTS = 10_000
STOP_SECONDS_MAX = 15  # what is being answered at SIGTERM may take so long; longer than a sidecar call


def now() -> datetime:
    """The one clock of an app."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Read:
    """One GET that a service answers by invocation; `find` gets the path parameters and returns JSON, or None (404)."""

    path: str
    find: Callable[[Mapping[str, str]], Awaitable[bytes | None]]


class SidecarAuth:
    """Answers 403 to whoever asks for a guarded path without the app token, before anything else sees the request."""

    def __init__(self, app: ASGIApp, token: str, is_protected: Callable[[str], bool]) -> None:
        self._app = app
        self._token = token.encode()
        self._is_protected = is_protected

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, or refuse."""
        if scope["type"] == "http" and self._is_protected(scope["path"]) and not self._knows(scope):
            refusal = Response("this route is the sidecar's: the dapr-api-token header is missing or wrong\n", 403)
            await RequestBody(receive).drain(scope)
            await refusal(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _knows(self, scope: Scope) -> bool:
        tokens = [value for name, value in scope["headers"] if name == b"dapr-api-token"]
        return len(tokens) == 1 and hmac.compare_digest(tokens[0], self._token)


class LoopbackProbe:
    """An event that an app sends to itself: when it comes back, the way through the broker is open both ways."""

    def __init__(self, component: str, name: str) -> None:
        self.component = component
        self.topic = f"Probe-{name}"
        self._name = name
        self._returned = asyncio.Event()

    @property
    def has_returned(self) -> bool:
        """Whether one came back since this process started."""
        return self._returned.is_set()

    async def handle(self, _body: bytes) -> None:
        """Take the event that came back."""
        self._returned.set()

    def event(self) -> bytes:
        """A new event to publish."""
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
        """Publish, and again each second, until one is back."""
        while not self.has_returned:
            with suppress(TransientError):  # the sidecar is not up yet: that is what we wait for
                await sidecar.publish(self.topic, self.event())
            with suppress(TimeoutError):  # not wait_for: in Python 3.11 it may swallow a cancellation
                async with asyncio.timeout(PROBE_SECONDS):
                    await self._returned.wait()


@dataclass(frozen=True, slots=True)
class ServiceWiring:
    """What there is to serve: events, reads, and what a service does beside until it is stopped, if anything."""

    subscriptions: Sequence[Subscription]
    reads: Sequence[Read] = ()
    background_tasks: Callable[[DeadLetters], Awaitable[None]] | None = None


WireService = Callable[[HttpSidecar], ServiceWiring]


def service_app(name: str, settings: Settings, wire: WireService) -> ASGIApp:
    """Build the app of one service: its subscriptions, its reads, /healthz and /readyz.

    `wire` gets the sidecar when the app starts, and says what there is to serve.
    """
    probe = LoopbackProbe(INBOX, name)

    @asynccontextmanager
    async def lifespan(app: InboundApp) -> AsyncIterator[None]:
        async with connect(settings.dapr_http_port, settings.dapr_api_token, settings.dapr_host) as sidecar:
            app.state.sidecar = sidecar
            wired, dead_letters = wire(sidecar), DeadLetters(sidecar, now)
            probe_subscription = Subscription(probe.component, probe.topic, probe.handle)
            taken = [_paused_while_refused(sidecar, each) for each in wired.subscriptions]
            app.subscribe([*taken, probe_subscription], dead_letters)
            for read in wired.reads:
                app.add_api_route(read.path, reader(read), methods=["GET"])
            async with AsyncExitStack() as works:
                await works.enter_async_context(traced(name))
                await works.enter_async_context(background(sidecar.watch_store()))
                await works.enter_async_context(background(probe.send_until_returned(sidecar)))
                if wired.background_tasks is not None:
                    await works.enter_async_context(background(wired.background_tasks(dead_letters)))
                yield

    app = InboundApp(title=name, lifespan=lifespan, openapi_url=None)

    @app.get("/healthz")
    async def healthz() -> Response:
        sidecar: HttpSidecar = app.state.sidecar
        # a sidecar that is up again is answered 200 at once
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
    """Hand an event back at once while the store refuses writes: the sidecar offers it again a second later.

    Nothing is sent, published or mailed in that time that could not be noted.
    """

    def handle(body: bytes) -> Awaitable[None]:
        if sidecar.store.write_refusal:
            raise WriteRefused(sidecar.store.problem)
        return subscription.handle(body)

    return replace(subscription, handle=handle)


def reader(read: Read) -> Callable[[Request], Awaitable[Response]]:
    """The route of a read: 404 when there is nothing, 503 when the store is unreachable."""

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
    """The answer of `/unfinished/<kind>/<ids>`: the ids of the flows that have not ended at this service."""
    return msgspec.json.encode({"unfinished": [each for each, has in zip(ids, ended, strict=True) if not has]})


@asynccontextmanager
async def background(work: Awaitable[None]) -> AsyncIterator[None]:
    """Run `work` beside the block and end it with it."""
    task = asyncio.ensure_future(work)
    task.add_done_callback(_report)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def _report(task: asyncio.Future[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("background work ended: %r", error)


def server_config(app: ASGIApp, settings: Settings) -> uvicorn.Config:
    """Return how every app is served."""
    return uvicorn.Config(
        app,
        host=settings.app_host,
        port=settings.app_port,
        loop="uvloop",
        http=BoundedHttp,
        ws="none",
        lifespan="on",
        access_log=False,
        proxy_headers=False,  # nothing here asks who the caller is, and no header should make one up
        server_header=False,
        log_config=None,  # its lines are written like ours
        log_level="warning",
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS_MAX,
    )


def _collect_less_often() -> None:
    """Leave out of every collection what was imported, and collect after so many new objects, not after 700.

    Each request makes hundreds that are freed without it.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_OBJECTS, 20, 50)


def run(app: ASGIApp, settings: Settings, shutdown: ShutdownSignal | None = None, drain_seconds: float = 0) -> None:
    """Serve until SIGTERM or SIGINT, then finish what is being answered and return.

    `shutdown` begins at the signal; new connections are taken for `drain_seconds` more.
    """
    logs.configure(settings.log_format, settings.log_level)
    # Before anything of the app starts: a port in use is one line, and no lifespan has to be undone.
    entrance = bound("APP_PORT", settings.app_host, settings.app_port)
    metrics_port = settings.metrics_port
    metrics = [] if metrics_port is None else bound("METRICS_PORT", settings.metrics_host, metrics_port)
    server = GracefulServer(
        server_config(app, settings), shutdown or ShutdownSignal(), drain_seconds, serve_metrics(metrics)
    )
    _collect_less_often()
    with suppress(KeyboardInterrupt):  # uvicorn raises the signal again once it has stopped
        server.run(entrance)
    if not server.started:
        raise SystemExit(3)  # what uvicorn says of a start that failed
