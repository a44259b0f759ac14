"""What a task is at work on: a request or an event. Noted in passing, and read only by whoever writes a line about it.

The ids are in the body, and most bodies are never spoken of: they are looked for when somebody asks.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from contextvars import ContextVar
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from opentelemetry.trace import Span

TRACEPARENT = re.compile(
    r"(?!ff)(?:00(?=.{53}\Z)|(?!00)[0-9a-f]{2})"
    r"-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?"
)
"""W3C Trace Context: trace id, span id, flags (bit 0: sampled). Version 00 ends there; a later one may go on."""
SAMPLED = 1
ID = re.compile(r"[\w-]{1,64}", re.ASCII)  # what is spoken of as an event's id: nobody has checked it yet


def version_00(traceparent: str) -> str:
    """A traceparent in the version that we write, or nothing if it is malformed.

    Of a later version the standard lets us use the ids and the sampled flag, and nothing else.
    """
    found = TRACEPARENT.fullmatch(traceparent)
    if found is None or traceparent.startswith("00"):
        return "" if found is None else traceparent
    return f"00-{found[1]}-{found[2]}-{int(found[3], 16) & SAMPLED:02x}"


class _Attributes(msgspec.Struct):
    id: str = ""
    traceparent: str = ""


class RequestContext:
    """One request, or one event once `topic` and `body` are set; everything else is found out when it is asked for."""

    # Of the class, for one is made for each request, and most are never asked.
    topic: str = ""
    body: bytes = b""
    span: Span | None = None  # of a trace that is sampled
    _id: str | None = None
    _trace_id: str | None = None

    def __init__(self, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        self.headers = headers

    def set_event(self, topic: str, event_id: str) -> None:
        """Say which event a request is about."""
        self.topic, self._id = topic, event_id

    def set_trace(self, trace_id: str) -> None:
        """Say which trace it is a part of."""
        self._trace_id = trace_id

    @property
    def event_id(self) -> str:
        """The event's id, or nothing."""
        found = self._attributes.id if self._id is None else self._id
        return found if ID.fullmatch(found) else ""

    @property
    def traceparent(self) -> str:
        """The trace that it came in, if it is well-formed, in version 00: the header's, else the event's own."""
        headers = [value.decode("latin-1") for name, value in self.headers if name == b"traceparent"]
        header = headers[0] if len(headers) == 1 else ""  # of several none is to be believed
        return version_00(header) or version_00(self._attributes.traceparent)

    @property
    def trace_id(self) -> str:
        """The id of its trace; a request that has none gets one, so that its answer and its lines say the same."""
        if self._trace_id is None:
            found = TRACEPARENT.fullmatch(self.traceparent)
            if found is None and self.body:
                return ""
            self._trace_id = found[1] if found else secrets.token_hex(16)
        return self._trace_id

    def release(self) -> None:
        """Let go of what is large: a connection that was opened meanwhile keeps this for as long as it lives."""
        self.headers, self.body, self.span = (), b"", None

    @property
    def _attributes(self) -> _Attributes:
        if not self.body:
            return _Attributes()
        try:
            return msgspec.json.decode(self.body, type=_Attributes)
        except (ValueError, RecursionError):  # it may be anything, and a line about it is written all the same
            return _Attributes()


_current: ContextVar[RequestContext | None] = ContextVar("request_context", default=None)


def start(headers: Iterable[tuple[bytes, bytes]] = ()) -> RequestContext:
    """Note that this task is at work on something from now on."""
    context = RequestContext(headers)
    _current.set(context)
    return context


def start_event(topic: str, body: bytes) -> RequestContext:
    """Note that this task is at work on an event that no request has brought."""
    context = start()
    context.topic, context.body = topic, body
    return context


def current() -> RequestContext | None:
    """What this task is at work on, if anything."""
    return _current.get()
