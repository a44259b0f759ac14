"""Wire the monitor: the page, its event stream, the gateway proxy and dead-letter actions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from sidecart.chassis.server.serve import background
from sidecart.chassis.server.shutdown import ShutdownSignal
from sidecart.launcher.running_state import RunningState
from sidecart.launcher.servers.brokers import BROKERS
from sidecart.launcher.topics import app_ids
from sidecart.monitor.description import Description
from sidecart.monitor.gateway_proxy import GatewayProxy, gateway_client, now_ms
from sidecart.monitor.health import HealthPoll
from sidecart.monitor.lag import LagPoll
from sidecart.monitor.live import Live
from sidecart.monitor.mails import Mails
from sidecart.monitor.operator_api import OperatorApi
from sidecart.monitor.operators import KEY_HOLDER, Operators
from sidecart.monitor.origin_check import OriginCheck
from sidecart.monitor.page import page
from sidecart.monitor.page_key import PageKey
from sidecart.monitor.page_state import PageState
from sidecart.monitor.page_tokens import ADDRESS, PageTokens
from sidecart.monitor.settings import Settings
from sidecart.monitor.watch import Watch, poll_health, read_dead_letters

VIEWERS_MAX = 100
STATIC = Path(__file__).parent / "static"


def monitor(settings: Settings, description: Description, shutdown: ShutdownSignal) -> ASGIApp:
    """Build the app; all its state is in memory and bounded."""
    live_page = LivePage(settings, description, shutdown)
    app = Starlette(lifespan=live_page.lifespan, routes=live_page.routes())
    return OriginCheck(PageKey(app, settings.port, settings.key), settings.port)


class LivePage:
    """The parts of the monitor, and the handlers of its routes."""

    def __init__(self, settings: Settings, description: Description, shutdown: ShutdownSignal) -> None:
        self._settings = settings
        self._description = description
        self._shutdown = shutdown
        self._live = Live(lambda: self._page_state.snapshot())
        tokens = None if settings.issuer_keys is None else PageTokens(settings.issuer_keys)
        self._has_forms = settings.auth is None or tokens is not None
        about = {name: getattr(settings, name) for name in ("broker", "store", "gateway_url", "mail_url")}
        self._page_state = PageState(
            about,
            description,
            self._live.notify,
            now_ms,
            settings.currency,
            is_open=self._has_forms,
            forgot=self._live.reset,
        )
        self._gateway = GatewayProxy(
            lambda: gateway_client(settings.gateway_url),
            self._page_state.add_request,
            tokens,
            is_closed=not self._has_forms,
        )
        self._operators = Operators(settings.auth, self._acting(tokens), settings.issuer_keys)
        self._state = RunningState(settings.ports, settings.tokens, settings.hosts)
        self._dead_letters_changed = asyncio.Event()
        self._operator_api = OperatorApi(
            self._operators,
            self._state,
            self._page_state,
            description.records,
            LagPoll(settings),
            self._dead_letters_changed.set,
        )
        self._mails = Mails(settings.mail_url, self._page_state.add_mails)

    def routes(self) -> list[Route | Mount]:
        """All routes of the monitor."""
        return [
            Route("/", self._index),
            Route("/healthz", self._healthz),
            Route("/page", self._page),
            Route("/live", self._stream),
            *self._operator_api.routes(),
            self._gateway.route(),
            Mount("/static", StaticFiles(directory=STATIC)),
        ]

    @asynccontextmanager
    async def lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        """Watch while viewers are connected, until shutdown."""
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._gateway.connected())
            await stack.enter_async_context(background(self._close()))
            if self._operators.keys is not None:
                await stack.enter_async_context(background(self._operators.keys.keep_current()))
            await stack.enter_async_context(background(self._watch().run()))
            yield
            await self._operator_api.group_run.close()

    def _watch(self) -> Watch:
        settings = self._settings
        broker = BROKERS[settings.broker]
        poll = HealthPoll(
            settings.ports, settings.tokens, broker, settings.broker_address, settings.hosts, settings.gateways
        )

        def background_tasks(client: httpx.AsyncClient) -> list[Awaitable[None]]:
            return [
                poll_health(self._page_state, poll, client),
                read_dead_letters(self._page_state, self._state, self._dead_letters_changed),
                *([self._mails.read_on(client)] if settings.mail_url else []),
            ]

        return Watch(
            self._page_state,
            self._live.viewers,
            broker,
            settings.broker_address,
            (settings.dapr_host, settings.dapr_grpc_port, settings.dapr_api_token),
            settings.grace_seconds,
            background_tasks,
            self._ended,
        )

    def _ended(self) -> None:
        self._page_state.forget_all()
        self._live.reset()

    def _acting(self, tokens: PageTokens | None) -> str:
        """Return who acts in requests without a token; empty if each request needs one."""
        if self._settings.auth is None:
            return KEY_HOLDER
        return "" if tokens is None else ADDRESS

    async def _close(self) -> None:
        await self._shutdown.wait()
        self._live.close()

    async def _index(self, _request: Request) -> Response:
        return FileResponse(STATIC / "index.html", headers={"cache-control": "no-cache"})

    async def _healthz(self, _request: Request) -> Response:
        return PlainTextResponse("alive\n")

    async def _page(self, _request: Request) -> Response:
        body = msgspec.json.encode(
            page(app_ids(), self._description, await self._gateway.api(), self._settings.currency, self._has_forms)
        )
        return Response(body, media_type="application/json", headers={"cache-control": "no-store"})

    async def _stream(self, request: Request) -> Response:
        """Stream the events; a reconnecting browser sends the id of its last event."""
        if self._live.viewers.count >= VIEWERS_MAX:
            return PlainTextResponse(f"{VIEWERS_MAX} pages are already connected\n", 503)
        last_id = request.headers.get("last-event-id") or request.query_params.get("last", "")
        if request.method == "HEAD":  # the event stream never ends
            return Response(media_type="text/event-stream", headers={"cache-control": "no-store"})
        events = self._live.stream(last_id)
        return StreamingResponse(events, media_type="text/event-stream", headers={"cache-control": "no-store"})
