"""Unary calls of gRPC to one server, over one connection that is opened again when it ends.

Calls wait, up to a limit, while the connection is being opened, while the server allows no further
stream, and while it does not read. Each call has one deadline for all of this and for its response.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping

from sidecart.chassis.http2.call import RESOURCE_EXHAUSTED, Call, Reply
from sidecart.chassis.http2.connection import Connection
from sidecart.chassis.http2.deadlines import Deadlines
from sidecart.chassis.http2.errors import BrokenOff, NotConnected, NotProcessed
from sidecart.chassis.http2.header_blocks import RequestHead, request_head
from sidecart.chassis.http2.settings import MESSAGE_BYTES_MAX

CONNECT_SECONDS_MAX = 5.0  # for the connection and the server's first SETTINGS
ATTEMPTS_MAX = 5
PAUSE_SECONDS = 0.001
"""Doubled before each further attempt: some servers (grpcio) count a stream for a moment after its
end, and refuse the next one."""
WAITING_MAX = 10_000
"""Calls that wait; a further one fails at once, and nothing of it was sent."""


class Channel:
    """The calls to one server; it sends nothing before the first call."""

    def __init__(self, host: str, port: int, authority: str, secrets: Mapping[str, str]) -> None:
        self._host = host
        self._authority = authority
        self._port = port
        self._secrets = secrets
        self._loop = asyncio.get_running_loop()
        self._deadlines: Deadlines[Call] = Deadlines(self._loop, self._late)
        self._waiting: OrderedDict[Call, None] = OrderedDict()
        self._connection: Connection | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._open: set[Connection] = set()  # also those that end after their last call
        self._is_closed = False

    def head(self, path: str) -> RequestHead:
        """Return the head of the calls of one method."""
        return request_head(self._authority, path, self._secrets)

    async def call(self, head: RequestHead, message: bytes, seconds: float, *, is_idempotent: bool = False) -> Reply:
        """Send a call and return its reply, whatever its code.

        Raise NotConnected if the server certainly did not process the call, BrokenOff if it may
        have, and TimeoutError. A call that the server states not to have processed is sent again,
        up to ATTEMPTS_MAX times, and an idempotent call whose connection ended is sent once more.
        """
        if len(message) > MESSAGE_BYTES_MAX:
            return Reply(RESOURCE_EXHAUSTED, f"a request of {len(message)} bytes", b"")
        call = Call(head, message, self._loop.time() + seconds, self._loop.create_future())
        refusals = 0
        try:
            while True:
                self._deadlines.add(call)  # again: a call that was late between two attempts was discarded
                self._submit(call)
                try:
                    return await call.result
                except NotProcessed as error:
                    refusals += 1
                    if refusals == ATTEMPTS_MAX:
                        raise NotConnected(f"the server did not process the call: {error}") from error
                    await asyncio.sleep(PAUSE_SECONDS * 2**refusals)
                except BrokenOff:
                    if not is_idempotent:
                        raise
                    is_idempotent = False
                call.renew(self._loop.create_future())
        except BaseException:
            self._abandon(call)
            raise
        finally:
            self._deadlines.discard(call)

    def close(self) -> None:
        """Close the connections; calls under way fail."""
        self._is_closed = True
        self._deadlines.close()
        if self._connecting is not None:
            self._connecting.cancel()
        self._fail_waiting("this client is closed")
        for connection in list(self._open):
            connection.close()

    # --- Callbacks of a connection

    def has_room(self) -> None:
        """Start the calls that wait, as many as the connection takes."""
        while self._waiting and (connection := self._connection) is not None and connection.has_room:
            self._start(connection, self._waiting.popitem(last=False)[0])

    def is_gone(self, connection: Connection) -> None:
        """Open another connection if calls wait."""
        if connection.is_closed:
            self._open.discard(connection)
        if connection is self._connection:
            self._connection = None
            if self._waiting:
                self._connect()

    # --- Calls

    def _submit(self, call: Call) -> None:
        connection = self._connection
        if connection is not None and not self._waiting and connection.has_room:
            self._start(connection, call)
        elif self._is_closed or len(self._waiting) >= WAITING_MAX:
            call.fail(NotConnected("this client is closed" if self._is_closed else f"{WAITING_MAX} calls wait already"))
        else:
            self._waiting[call] = None
            if connection is None:
                self._connect()

    def _start(self, connection: Connection, call: Call) -> None:
        call.connection = connection
        connection.streams.start(call)
        if connection.streams.is_used_up:
            connection.drain()

    def _late(self, call: Call) -> None:
        if (connection := call.connection or self._connection) is not None:
            connection.check()
        if not call.result.done():
            call.result.set_exception(TimeoutError())

    def _abandon(self, call: Call) -> None:
        self._waiting.pop(call, None)
        if call.connection is not None:
            call.connection.abandon(call)

    # --- Connections

    def _connect(self) -> None:
        if self._connecting is None and not self._is_closed:
            self._connecting = self._loop.create_task(self._open_connection())

    async def _open_connection(self) -> None:
        connection: Connection | None = None
        try:
            async with asyncio.timeout(CONNECT_SECONDS_MAX):
                _, connection = await self._loop.create_connection(
                    lambda: Connection(self._loop, self), self._host, self._port
                )
                self._open.add(connection)
                await connection.ready
                if connection.is_draining:
                    raise BrokenOff("the server closes the connection")
        except (OSError, BrokenOff, TimeoutError) as error:  # no call was sent
            self._connecting = None
            if connection is not None:
                connection.close()
            self._fail_waiting(f"{self._host}:{self._port}: {str(error) or 'no HTTP/2 server answers'}")
        else:
            self._connecting = None
            self._connection = connection
            self.has_room()

    def _fail_waiting(self, why: str) -> None:
        while self._waiting:
            self._waiting.popitem(last=False)[0].fail(NotConnected(why))
