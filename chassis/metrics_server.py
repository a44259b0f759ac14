"""Where Prometheus reads an app's metrics: at a port of their own, for they are not public; in the app's loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import uvicorn
from prometheus_client import make_asgi_app
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.server import ServerState

from chassis.protocol import BoundedHttp

PATH = "/metrics"
READING = ("GET", "HEAD")


@asynccontextmanager
async def serve_metrics(listeners: Sequence[socket.socket]) -> AsyncIterator[None]:
    """Answer at these sockets for as long as the block runs; without one nothing is done."""
    if not listeners:
        yield
        return
    config = uvicorn.Config(
        _only_metrics(make_asgi_app()), http=BoundedHttp, ws="none", lifespan="off", access_log=False, log_config=None
    )
    config.load()
    state = ServerState()
    # Not a second uvicorn.Server: it would want the signals, and wake up ten times a second.
    loop = asyncio.get_running_loop()
    servers = [
        await loop.create_server(lambda: BoundedHttp(config=config, server_state=state, app_state={}), sock=each)
        for each in listeners
    ]
    try:
        yield
    finally:
        for server in servers:
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
