"""One HTTP/2 connection of a client: its I/O, and the frames that concern the whole connection."""

from __future__ import annotations

import asyncio
from typing import Protocol, cast

from sidecart.chassis.http2.block_reader import BlockReader
from sidecart.chassis.http2.call import Call
from sidecart.chassis.http2.errors import BrokenOff, NotProcessed
from sidecart.chassis.http2.frames import (
    ACK,
    CONTINUATION,
    DATA,
    FRAME_SIZE_ERROR,
    GOAWAY,
    HEADERS,
    NO_ERROR,
    PING,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    STREAM_ID_MAX,
    TWO_NUMBERS,
    WINDOW_UPDATE,
    FrameReader,
    ProtocolError,
    encoded,
    number,
)
from sidecart.chassis.http2.output import Output
from sidecart.chassis.http2.settings import PREFACE
from sidecart.chassis.http2.streams import Streams

PING_SECONDS = 10.0  # between two PINGs of ours; daprd ends a connection with more than one in 8 s
PING_SECONDS_MAX = 2.0  # for the answer to a PING
ESTIMATE = bytes((2, 4, 16, 16, 9, 14, 7, 7))
"""The payload of grpc-go's PING that estimates the bandwidth. The server sends one beside the first
DATA after the answer to the last one, so an answer at once costs a PING for almost each call.
"""
ESTIMATE_SECONDS = 0.5  # until the answer to such a PING


class Owner(Protocol):
    """The channel of a connection."""

    def has_room(self) -> None:
        """Start calls that wait: a stream has ended, or the limits have changed."""

    def is_gone(self, connection: Connection) -> None:
        """Start no more calls on this connection."""


class Connection(asyncio.Protocol):
    """A connection, from its first byte to its last."""

    def __init__(self, loop: asyncio.AbstractEventLoop, owner: Owner) -> None:
        self.ready: asyncio.Future[None] = loop.create_future()
        """Done with the server's first SETTINGS, or with the end of the connection before it."""
        self.is_draining = False
        """No more calls start here; those under way continue."""
        self.is_closed = False
        self._output = Output(loop)
        self.streams = Streams(self._output.write, self.stream_ended)
        self._loop = loop
        self._owner = owner
        self._reader = FrameReader()
        self._blocks = BlockReader()
        self._pinged_at = float("-inf")
        self._ping: asyncio.TimerHandle | None = None
        self._estimate: asyncio.TimerHandle | None = None

    @property
    def has_room(self) -> bool:
        """Return whether a call can start now."""
        return not (self.streams.is_full or self._output.is_paused)

    def abandon(self, call: Call) -> None:
        """End the stream of a call that is late or canceled."""
        self.streams.abandon(call)
        self.stream_ended()

    def check(self) -> None:
        """Close the connection unless the server answers a PING, at most one in PING_SECONDS."""
        now = self._loop.time()
        if self.is_closed or now - self._pinged_at < PING_SECONDS:
            return
        self._pinged_at = now
        self._output.write(encoded(PING, 0, 0, bytes(8)))
        error = BrokenOff(f"the server answered no PING within {PING_SECONDS_MAX:.3g} s")
        self._ping = self._loop.call_later(PING_SECONDS_MAX, self._close, error)

    def close(self) -> None:
        """Tell the server, and close the connection after the last frames; calls under way fail."""
        self._close(BrokenOff("this client closed the connection"), NO_ERROR)

    def drain(self) -> None:
        """Start no more calls; close the connection after the last one."""
        if not self.is_draining:
            self.is_draining = True
            self._owner.is_gone(self)
        if not self.streams.calls:
            self.close()

    # --- Callbacks of asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the preface; calls wait for the server's."""
        self._output.transport = cast(asyncio.Transport, transport)  # uvloop's transport is not a subclass
        self._output.write(PREFACE)

    def data_received(self, data: bytes) -> None:
        """Handle the frames that are complete; an error of the server closes the connection."""
        try:
            for kind, flags, stream_id, payload in self._reader.feed(data):
                if self.is_closed:
                    return
                if kind == HEADERS and not self._blocks.is_inside and self.ready.done():
                    head = self._blocks.headers(flags, stream_id, payload)
                    if head is not None:
                        self.streams.on_head(flags, stream_id, head)
                elif kind == DATA and not self._blocks.is_inside and self.ready.done():
                    self.streams.on_data(flags, stream_id, payload)
                else:
                    self._on_other(kind, flags, stream_id, payload)
        except ProtocolError as error:
            self._close(BrokenOff(f"not HTTP/2: {error}"), error.code)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the calls under way."""
        self._close(BrokenOff(str(exc or "the server closed the connection")))

    def pause_writing(self) -> None:
        """Start no more calls while the server does not read."""
        self._output.pause()

    def resume_writing(self) -> None:
        """Start the calls that wait."""
        self._output.resume()
        self._owner.has_room()

    # --- Frames

    def _on_other(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        self._blocks.check(kind, stream_id)
        if not self.ready.done() and (kind != SETTINGS or flags & ACK):
            raise ProtocolError(PROTOCOL_ERROR, "the first frame is not SETTINGS")
        if kind == WINDOW_UPDATE:
            self.streams.on_window_update(stream_id, number(kind, payload) & STREAM_ID_MAX)
        elif kind == RST_STREAM:
            self.streams.on_rst_stream(stream_id, number(kind, payload))
        elif kind == CONTINUATION:
            if (block := self._blocks.continuation(flags, payload)) is not None:
                self.streams.on_head(block[0], stream_id, block[1])
        elif kind == PUSH_PROMISE:
            raise ProtocolError(PROTOCOL_ERROR, "PUSH_PROMISE, which this client does not allow")
        elif kind in (SETTINGS, PING, GOAWAY):  # a frame of another type is ignored
            if stream_id:
                raise ProtocolError(PROTOCOL_ERROR, f"a frame of type {kind} on a stream")
            self._on_control(kind, flags, payload)

    def _on_control(self, kind: int, flags: int, payload: bytes) -> None:
        if kind == SETTINGS:
            self._on_settings(flags, payload)
        elif kind == GOAWAY:
            self._on_goaway(payload)
        elif len(payload) != 8:
            raise ProtocolError(FRAME_SIZE_ERROR, "a malformed PING")
        elif not flags & ACK:
            self._on_ping(payload)
        elif self._ping is not None:
            self._ping.cancel()

    def _on_ping(self, payload: bytes) -> None:
        answer = encoded(PING, ACK, 0, payload)
        if payload == ESTIMATE and self._estimate is None:
            self._estimate = self._loop.call_later(ESTIMATE_SECONDS, self._answer_estimate, answer)
        else:
            self._output.answer(answer)

    def _answer_estimate(self, answer: bytes) -> None:
        self._estimate = None
        self._output.write(answer)

    def _on_settings(self, flags: int, payload: bytes) -> None:
        if flags & ACK:
            if payload:
                raise ProtocolError(FRAME_SIZE_ERROR, "an ACK of SETTINGS with a payload")
            return
        self._output.answer(encoded(SETTINGS, ACK, 0))
        self.streams.on_settings(payload)
        if not self.ready.done():
            self.ready.set_result(None)
        self._owner.has_room()

    def _on_goaway(self, payload: bytes) -> None:
        if len(payload) < TWO_NUMBERS.size:
            raise ProtocolError(FRAME_SIZE_ERROR, "a malformed GOAWAY")
        last, code = TWO_NUMBERS.unpack_from(payload)
        self.streams.fail(NotProcessed(f"GOAWAY {code}"), above=last & STREAM_ID_MAX)
        self.drain()

    # --- Ends

    def stream_ended(self) -> None:
        """Start a call that waits, or close a connection after its last call."""
        if not self.is_draining:
            self._owner.has_room()
        elif not self.streams.calls:
            self.close()

    def _close(self, error: BrokenOff, code: int | None = None) -> None:
        if self.is_closed:
            return
        self.is_closed = self.is_draining = True
        for timer in (self._ping, self._estimate):
            if timer is not None:
                timer.cancel()
        self._output.close(code)
        if not self.ready.done():
            self.ready.set_exception(error)
        self.streams.fail(error)
        self._owner.is_gone(self)
