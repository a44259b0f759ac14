"""The CPU time of an app for one delivery: `python -m bench.deliveries [connections]`.

Two apps run side by side, each in its own process, with a handler that does nothing. One is served
as the product's apps are, the deliveries of the other one go through ASGI. Both get the same
deliveries by turns, in the form of a sidecar's, over connections that stay open.
"""

from __future__ import annotations

import asyncio
import base64
import json
import statistics
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import cast

import uvloop

from bench.usage import cpu_seconds
from sidecart.chassis.server.deliveries import Subscription
from sidecart.chassis.server.direct_http import DirectDeliveries, ServedApp
from sidecart.chassis.server.inbound import InboundApp, SidecarAuth
from sidecart.chassis.server.serve import run
from sidecart.chassis.settings import Settings
from sidecart.launcher.ports import free_port, is_listening
from sidecart.launcher.project import root

ROUNDS = 5
CONNECTIONS = 256
DELIVERIES = 20_000
WARM = 2_000
TOKEN = "t" * 43
DIRECT, ASGI = "direct", "asgi"
OK = b"HTTP/1.1 200 OK\r\n"


def serve(port: int, way: str) -> None:
    """Serve an app that does nothing for each event."""

    async def handle(_body: bytes) -> None: ...

    @asynccontextmanager
    async def lifespan(app: InboundApp) -> AsyncIterator[None]:
        app.subscribe([Subscription("inbox", "Lamp", handle)], dead_letters=None)
        yield

    app = InboundApp(lifespan=lifespan)
    auth = SidecarAuth(app, TOKEN)
    direct = DirectDeliveries(auth, app.deliveries) if way == DIRECT else None
    run(ServedApp(auth, direct), Settings("127.0.0.1", port, 1, TOKEN, ""))


def delivery(port: int) -> bytes:
    """Return a delivery as daprd 1.18 writes it, with an event of 700 bytes."""
    event = json.dumps({"id": str(uuid.uuid4()), "data": "x" * 640}).encode()
    envelope = {
        "data_base64": base64.b64encode(event).decode(),
        "datacontenttype": "application/octet-stream",
        "id": str(uuid.uuid4()),
        "pubsubname": "inbox",
        "source": "Dapr",
        "specversion": "1.0",
        "topic": "Lamp",
        "type": "com.dapr.event.sent",
    }
    body = json.dumps(envelope).encode()
    head = (
        f"POST /events/inbox/Lamp HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: Go-http-client/1.1\r\n"
        f"Content-Length: {len(body)}\r\nContent-Type: application/cloudevents+json\r\nDapr-Api-Token: {TOKEN}\r\n"
        "Pubsubname: inbox\r\nAccept-Encoding: gzip\r\n\r\n"
    )
    return head.encode() + body


class Sender(asyncio.Protocol):
    """A connection that sends the next delivery once the one before is answered."""

    def __init__(self, request: bytes, left: Iterator[int], done: asyncio.Future[None]) -> None:
        self._request, self._left, self._done = request, left, done

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first delivery."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transport is not a subclass
        self._send()

    def data_received(self, data: bytes) -> None:
        """Check the response, which is one segment, and send the next delivery."""
        if data.startswith(OK):
            self._send()
        elif not self._done.done():
            self._done.set_exception(AssertionError(data))

    def _send(self) -> None:
        if next(self._left, None) is not None:
            self._transport.write(self._request)
        elif not self._done.done():
            self._done.set_result(None)


async def deliver(port: int, connections: int, deliveries: int) -> None:
    """Send so many deliveries, and return when the last one is sent."""
    left, loop, request = iter(range(deliveries)), asyncio.get_running_loop(), delivery(port)
    done: asyncio.Future[None] = loop.create_future()
    made = [
        (await loop.create_connection(lambda: Sender(request, left, done), "127.0.0.1", port))[0]
        for _ in range(connections)
    ]
    await done
    for transport in made:
        transport.close()


@contextmanager
def app(way: str) -> Iterator[tuple[int, int]]:
    """Run an app; yield its port and the id of its process."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "bench.deliveries", way, str(port)], cwd=root())
    try:
        while not is_listening(port):
            assert process.poll() is None, "the app does not start"
        yield port, process.pid
    finally:
        process.terminate()
        process.wait()


def microseconds(port: int, pid: int, connections: int, deliveries: int = DELIVERIES) -> float:
    """Return the CPU time of the app for one delivery."""
    before = cpu_seconds({"app": pid})
    uvloop.run(deliver(port, connections, deliveries))
    return (cpu_seconds({"app": pid})["app"] - before["app"]) / deliveries * 1e6


def compare(connections: int) -> None:
    """Print the CPU time of both ways, by turns; each round reverses the order of the last."""
    with ExitStack() as stack:
        apps = {way: stack.enter_context(app(way)) for way in (ASGI, DIRECT)}
        for port, _ in apps.values():
            uvloop.run(deliver(port, connections, WARM))
        found: dict[str, list[float]] = {way: [] for way in apps}
        for number in range(ROUNDS):
            for way in list(apps)[:: 1 if number % 2 else -1]:
                found[way].append(microseconds(*apps[way], connections))
    for way, values in found.items():
        print(f"{way}: {statistics.median(values):.1f} us ({', '.join(f'{each:.1f}' for each in values)})")
    saved = [asgi - direct for asgi, direct in zip(found[ASGI], found[DIRECT], strict=True)]
    print(f"saved: {statistics.median(saved):.1f} us ({', '.join(f'{each:.1f}' for each in saved)})")


def main() -> None:
    """Serve, or compare both ways."""
    if sys.argv[1:2] in ([DIRECT], [ASGI]):
        serve(int(sys.argv[2]), sys.argv[1])
    else:
        compare(int(sys.argv[1]) if sys.argv[1:] else CONNECTIONS)


if __name__ == "__main__":
    main()
