"""Wire the monitor: the page, its event stream, the gateway proxy and dead-letter actions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from sidecart.chassis.server.serve import background
from sidecart.chassis.server.shutdown import ShutdownSignal
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.running_state import RunningState
from sidecart.launcher.servers.registry import BROKERS
from sidecart.launcher.topics import service_ids
from sidecart.monitor import gateway_proxy
from sidecart.monitor.dead_letters import ACTIONS, act
from sidecart.monitor.health import HealthPoll
from sidecart.monitor.live import Live
from sidecart.monitor.mails import Mails
from sidecart.monitor.origin_check import OriginCheck
from sidecart.monitor.page_state import PageState
from sidecart.monitor.settings import Settings
from sidecart.monitor.watch import Watch, poll_health, read_dead_letters

VIEWERS_MAX = 100
STATIC = Path(__file__).parent / "static"


def monitor(settings: Settings, shutdown: ShutdownSignal) -> ASGIApp:
    """Build the app; all its state is in memory and bounded."""
    broker = BROKERS[settings.broker]
    state = RunningState(settings.ports, settings.dapr_api_token)
    health_poll = HealthPoll(
        settings.ports, settings.app_api_token, settings.dapr_api_token, broker, settings.broker_address
    )
    dead_letters_changed = asyncio.Event()
    about = {name: getattr(settings, name) for name in ("broker", "store", "gateway_url", "mail_url")}
    live = Live(lambda: page_state.snapshot())
    page_state = PageState(about, live.notify, gateway_proxy.now_ms)
    mails = Mails(settings.mail_url, page_state.add_mails)

    def background_tasks(client: httpx.AsyncClient) -> list[Awaitable[None]]:
        return [
            poll_health(page_state, health_poll, client),
            read_dead_letters(page_state, state, dead_letters_changed),
            *([mails.read_on(client)] if settings.mail_url else []),
        ]

    watch = Watch(
        page_state,
        live.viewers,
        broker,
        settings.broker_address,
        (settings.dapr_grpc_port, settings.dapr_api_token),
        settings.grace_seconds,
        background_tasks,
        live.reset,
    )

    async def close() -> None:
        await shutdown.wait()
        live.close()

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            app.state.gateway = await stack.enter_async_context(gateway_proxy.gateway_client(settings.gateway_url))
            await stack.enter_async_context(background(close()))
            await stack.enter_async_context(background(watch.run()))
            yield

    async def stream(request: Request) -> Response:
        """Stream the events; a reconnecting browser sends the id of its last event."""
        if live.viewers.count >= VIEWERS_MAX:
            return PlainTextResponse(f"{VIEWERS_MAX} pages are already connected\n", 503)
        last_id = request.headers.get("last-event-id") or request.query_params.get("last", "")
        if request.method == "HEAD":  # the event stream never ends
            return Response(media_type="text/event-stream", headers={"cache-control": "no-store"})
        events = live.stream(last_id)
        return StreamingResponse(events, media_type="text/event-stream", headers={"cache-control": "no-store"})

    async def act_on_dead_letter(request: Request) -> Response:
        """Replay or discard a dead letter."""
        where = request.path_params
        if where["action"] not in ACTIONS or where["service"] not in service_ids():
            return gateway_proxy.problem(404, "a dead letter of a service can be replayed or discarded")
        try:
            outcome = await asyncio.to_thread(act, state, where["service"], where["letter_id"], where["action"])
        except LaunchError as error:
            return gateway_proxy.problem(409, str(error))
        finally:
            dead_letters_changed.set()
        return JSONResponse({"outcome": outcome})

    app = Starlette(
        lifespan=lifespan,
        routes=[
            Route("/", _page),
            Route("/healthz", _healthz),
            Route("/live", stream),
            Route("/dead-letters/{service}/{letter_id}/{action}", act_on_dead_letter, methods=["POST"]),
            *gateway_proxy.routes(lambda: app.state.gateway, page_state.add_request),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
    )
    return OriginCheck(app, settings.port)


async def _page(request: Request) -> Response:
    return FileResponse(STATIC / "index.html", headers={"cache-control": "no-cache"})


async def _healthz(request: Request) -> Response:
    return PlainTextResponse("alive\n")
