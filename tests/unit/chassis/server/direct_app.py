"""An app with one topic on a real socket, with and without the direct way for its deliveries."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from starlette.types import Receive, Scope, Send

from sidecart.chassis.server.deliveries import Subscription
from sidecart.chassis.server.direct_http import DirectDeliveries, ServedApp
from sidecart.chassis.server.inbound import InboundApp, SidecarAuth
from sidecart.chassis.server.serve import server_config
from sidecart.chassis.server.shutdown import GracefulServer, ShutdownSignal
from sidecart.chassis.settings import Settings
from sidecart.launcher.ports import free_port
from tests.unit.edge.fakes import until

TOKEN = b"dapr-api-token: in-token\r\n"
PATH = b"/events/inbox/Lamp"


class Lamps:
    """The app: what its handler got, and which requests came through ASGI."""

    def __init__(self, *, is_direct: bool = True) -> None:
        self.handled: list[bytes] = []
        self.by_asgi: list[str] = []
        self.work: Callable[[bytes], Awaitable[None]] | None = None
        self.released = asyncio.Event()
        self.port = free_port()
        inner = InboundApp()
        inner.subscribe([Subscription("inbox", "Lamp", self.take)], dead_letters=None)
        self._auth = SidecarAuth(inner, "in-token", public="/healthz")
        inner.add_api_route("/healthz", lambda: "alive")
        direct = DirectDeliveries(self._auth, inner.deliveries) if is_direct else None
        config = server_config(ServedApp(self, direct), Settings("127.0.0.1", self.port, 1, "a", "b"))
        self.config = config
        self.server = GracefulServer(config, ShutdownSignal(), 0)

    async def take(self, body: bytes) -> None:
        """Handle one event: wait for the release of `held`, raise for a bug, or do `work`."""
        self.handled.append(body)
        if body.startswith(b"held"):
            await self.released.wait()
        if self.work is not None:
            await self.work(body)

    async def ask(self, *pieces: bytes) -> bytes:
        """Send the pieces one after the other; return all bytes until the server closes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            for piece in pieces:
                writer.write(piece)
                await asyncio.sleep(0)
            return await reader.read()
        finally:
            writer.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Note a request that comes through ASGI, and serve it."""
        if scope["type"] == "http":
            self.by_asgi.append(f"{scope['method']} {scope['path']}")
        await self._auth(scope, receive, send)


@asynccontextmanager
async def serving(*, is_direct: bool = True) -> AsyncIterator[Lamps]:
    """Serve the app."""
    lamps = Lamps(is_direct=is_direct)
    # serve() would replace the test run's signal handlers.
    task = asyncio.create_task(lamps.server._serve())
    try:
        await until(lambda: lamps.server.started)
        yield lamps
    finally:
        lamps.released.set()
        lamps.server.should_exit = True
        lamps.server._exiting.set()
        await task


def delivery(body: bytes, headers: bytes = TOKEN, target: bytes = PATH) -> bytes:
    """Return a delivery as daprd sends it."""
    head = b"POST " + target + b" HTTP/1.1\r\nHost: 127.0.0.1:1\r\nUser-Agent: Go-http-client/1.1\r\n"
    return head + b"Content-Length: %d\r\n" % len(body) + headers + b"Pubsubname: inbox\r\n\r\n" + body


def in_chunks(body: bytes, headers: bytes = TOKEN) -> bytes:
    """Return a delivery in one chunk, which goes through ASGI."""
    head = b"POST " + PATH + b" HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n" + headers
    return head + b"\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
