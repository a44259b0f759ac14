"""Serves the metrics of an app in the app's event loop.

They have their own port, because they are not public.
"""

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

from sidecart.chassis.server.protocol import BoundedHttp, end_late

PATH = "/metrics"
METHODS = ("GET", "HEAD")


@asynccontextmanager
async def serve_metrics(listeners: Sequence[socket.socket]) -> AsyncIterator[None]:
    """Serve /metrics on these sockets while the block runs; without sockets it does nothing."""
    if not listeners:
        yield
        return
    config = uvicorn.Config(
        _only_metrics(make_asgi_app()), http=BoundedHttp, ws="none", lifespan="off", access_log=False, log_config=None
    )
    config.load()
    state = ServerState()
    # Not a second uvicorn.Server: it would install signal handlers and wake up ten times a second.
    loop = asyncio.get_running_loop()
    servers = [
        await loop.create_server(lambda: BoundedHttp(config=config, server_state=state, app_state={}), sock=each)
        for each in listeners
    ]
    sweep = asyncio.create_task(end_late(state.connections))
    try:
        yield
    finally:
        sweep.cancel()
        for server in servers:
            server.close()
        for connection in list(state.connections):
            connection.shutdown()


def _only_metrics(metrics: ASGIApp) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        answer = metrics if scope["path"] == PATH else PlainTextResponse("only /metrics is served here\n", 404)
        if scope["method"] not in METHODS:
            answer = PlainTextResponse("use GET or HEAD\n", 405, {"allow": "GET, HEAD"})
        await answer(scope, receive, send)

    return app
