"""Scripted mail servers on real sockets, and Mailers that share one store and one clock."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from services.notification.mail.mailer import Mailer
from services.notification.mail.retry_queue import MailRetryQueue
from services.notification.mail.server import MailServer
from tests.unit.chassis.fakes import FakeSidecar
from tests.unit.services.sample_events import COMMAND, EVENT, ORDER, USER

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
WINDOW_SECONDS = 0.5
OTHER = ORDER.replace("c1", "c2")


@dataclass(slots=True)
class Script:
    """The behavior of a mail server; it waits for an asyncio.Event that is set here."""

    greets: asyncio.Event | None = None
    answers: dict[bytes, bytes] = field(default_factory=dict)
    """The reply to a command, by its first four letters; an empty reply drops the connection."""
    to_dot: bytes = b"250 taken"
    answers_dot: asyncio.Event | None = None
    tls: ssl.SSLContext | None = None
    extensions: tuple[bytes, ...] = ()


class Server:
    """A mail server on a loopback port; `copies` holds every complete mail that it received."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.copies: list[bytes] = []
        self.commands: list[bytes] = []
        self.connections = 0
        self.port = 0
        self.over_tls = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client."""
        self.connections += 1
        try:
            await self._talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        script = self.script
        if script.greets is not None:
            await script.greets.wait()
        writer.write(script.answers.get(b"", b"220 hello") + b"\r\n")
        while line := await reader.readline():
            command = line[:4].upper().strip()
            answer = script.answers.get(command, b"250 OK")
            if not answer:
                return
            self.commands.append(command)
            if command == b"EHLO":
                writer.write(b"".join(b"250-" + each + b"\r\n" for each in (b"here", *script.extensions)))
            if command == b"STAR" and script.tls is not None:
                writer.write(b"220 go on\r\n")
                await writer.start_tls(script.tls)
                self.over_tls += 1
                continue
            if command == b"DATA" and answer == b"250 OK":
                writer.write(b"354 go on\r\n")
                self.copies.append(await reader.readuntil(b"\r\n.\r\n"))
                if script.answers_dot is not None:
                    await script.answers_dot.wait()
                answer = script.to_dot
                if not answer:
                    return
            writer.write(answer + b"\r\n")


@asynccontextmanager
async def serving(script: Script, port: int = 0) -> AsyncIterator[Server]:
    """Run a mail server on a loopback port; 0 picks a free one."""
    server = Server(script)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", port)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()


class MailHarness:
    """A clock, a store with two notifications, and Mailers that share both."""

    def __init__(self) -> None:
        self.now = BEGIN
        self.store = FakeSidecar()
        self.mailers: list[Mailer] = []
        for order_id in (ORDER, OTHER):
            notification = {
                "order_id": order_id,
                "user_id": USER,
                "kind": "paid",
                "subject": "Good news",
                "sent_at": None,
            }
            self.store.put(f"notification:{order_id}", msgspec.json.encode(notification))

    def process(self, port: int, **server: Any) -> Mailer:
        """Return a new Mailer, as another process of the Notification Service has it."""
        retry_queue = MailRetryQueue(self.store, lambda: self.now, timedelta(minutes=1), HOUR)
        mail_server = MailServer("127.0.0.1", port, **{"tls": False, "username": None, "password": None, **server})
        made = Mailer(mail_server, "shop@localhost", self.store, retry_queue, lambda: self.now, WINDOW_SECONDS)
        made.connections.connector._local_hostname = "localhost"  # finding it takes a slow DNS lookup
        self.mailers.append(made)
        return made

    def close(self) -> None:
        """Close all Mailers."""
        for each in self.mailers:
            each.close()

    def notification(self, order_id: str = ORDER) -> dict[str, Any]:
        """Return the notification record of an order."""
        return dict(self.store.read(f"notification:{order_id}"))

    def entry(self, order_id: str = ORDER) -> dict[str, Any]:
        """Return the entry of an order in the mail retry queue."""
        return dict(self.store.read(f"mail-retry:{order_id}"))

    @property
    def index(self) -> list[str]:
        """The order ids in the index of the mail retry queue."""
        return list(self.store.read("mail-retry-index:0")["ids"]) if "mail-retry-index:0" in self.store.records else []

    def due_in(self, order_id: str = ORDER) -> timedelta:
        """Return the time from now until a mail is due."""
        return datetime.fromisoformat(self.entry(order_id)["due"]) - self.now


def requested(order_id: str = ORDER, event_id: str = EVENT, **change: Any) -> bytes:
    """Return an EmailRequested event."""
    data = {
        "message_id": "<m-1@sidecart>",
        "order_id": order_id,
        "user_id": USER,
        "to": "ann@example.com",
        "subject": "Good news",
        "text": "Hello Ann",
        "html": "<p>Hello Ann</p>",
    }
    event = {
        "id": event_id,
        "type": "EmailRequested",
        "source": "notification",
        "correlationid": COMMAND,
        "data": data | change,
    }
    return msgspec.json.encode(event)


async def until(condition: Callable[[], bool]) -> None:
    """Yield to the event loop until the condition holds; fail after 10 s."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the conditions have no event to await
            await asyncio.sleep(0.005)


def play(scenario: Callable[[MailHarness], Awaitable[None]]) -> MailHarness:
    """Run a scenario and close its Mailers."""
    harness = MailHarness()

    async def run() -> None:
        try:
            await scenario(harness)
        finally:
            harness.close()
            await asyncio.sleep(0)

    asyncio.run(run())
    return harness
