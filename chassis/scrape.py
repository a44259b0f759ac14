"""Where Prometheus reads an app's figures: at a port of their own, for they are not public; in the app's loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from prometheus_client import make_asgi_app
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.server import ServerState

from chassis.protocol import BoundedHttp
from chassis.settings import SettingError

PATH = "/metrics"
READING = ("GET", "HEAD")


@asynccontextmanager
async def scraped(host: str, port: int | None) -> AsyncIterator[None]:
    """Answer on this port for as long as the block runs; without one nobody is answered, and nothing is done."""
    if port is None:
        yield
        return
    config = uvicorn.Config(
        _only_metrics(make_asgi_app()), http=BoundedHttp, ws="none", lifespan="off", access_log=False, log_config=None
    )
    config.load()
    state = ServerState()
    try:
        # Not a second uvicorn.Server: it would want the signals, and wake up ten times a second.
        server = await asyncio.get_running_loop().create_server(
            lambda: BoundedHttp(config=config, server_state=state, app_state={}), host, port
        )
    except OSError as error:
        raise SettingError("METRICS_PORT", str(error)) from error
    try:
        yield
    finally:
        server.close()
        for connection in list(state.connections):
            connection.shutdown()


def _only_metrics(metrics: ASGIApp) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        answer = metrics if scope["path"] == PATH else PlainTextResponse("there is /metrics\n", 404)
        if scope["method"] not in READING:
            answer = PlainTextResponse("use GET, HEAD here\n", 405, {"allow": "GET, HEAD"})
        await answer(scope, receive, send)

    return app
