"""The request or event that the current task handles.

The ids of an event are in its body, and most bodies never appear in a log line. The context
therefore parses the body only when an id is read.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from contextvars import ContextVar
from typing import TYPE_CHECKING

import msgspec

from sidecart.chassis.telemetry.traceparent import TRACEPARENT, version_00

if TYPE_CHECKING:
    from opentelemetry.trace import Span

ID = re.compile(r"[\w-]{1,64}", re.ASCII)  # an event id that is safe to log before validation


class _Attributes(msgspec.Struct):
    id: str = ""
    traceparent: str = ""


class RequestContext:
    """One request, or one event once `topic` and `body` are set.

    All other values are computed when they are read.
    """

    # Class attributes are defaults: each request creates an instance, and most set none of them.
    topic: str = ""
    body: bytes = b""
    span: Span | None = None  # set only in a sampled trace
    _id: str | None = None
    _trace_id: str | None = None

    def __init__(self, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        self.headers = headers

    def set_event(self, topic: str, event_id: str) -> None:
        """Set the event that a request leads to."""
        self.topic, self._id = topic, event_id

    def set_trace(self, trace_id: str) -> None:
        """Set the id of the trace."""
        self._trace_id = trace_id

    @property
    def event_id(self) -> str:
        """Return the event's id, or an empty string if it has no well-formed one."""
        found = self._attributes.id if self._id is None else self._id
        return found if ID.fullmatch(found) else ""

    @property
    def traceparent(self) -> str:
        """Return the incoming trace context in version 00, or an empty string.

        The header has priority over the event's attribute; each counts only if it is well-formed.
        """
        headers = [value.decode("latin-1") for name, value in self.headers if name == b"traceparent"]
        header = headers[0] if len(headers) == 1 else ""  # several headers are ambiguous
        return version_00(header) or version_00(self._attributes.traceparent)

    @property
    def trace_id(self) -> str:
        """Return the id of the trace.

        A request without a trace gets a random id, so that its response and its log lines agree. An
        event without a trace has none: an empty string.
        """
        if self._trace_id is None:
            found = TRACEPARENT.fullmatch(self.traceparent)
            if found is None and self.body:
                return ""
            self._trace_id = found[1] if found else secrets.token_hex(16)
        return self._trace_id

    def release(self) -> None:
        """Drop the large values.

        A connection opened in this context keeps the context alive.
        """
        self.headers, self.body, self.span = (), b"", None

    @property
    def _attributes(self) -> _Attributes:
        if not self.body:
            return _Attributes()
        try:
            return msgspec.json.decode(self.body, type=_Attributes)
        except (ValueError, RecursionError):  # the body may be anything; logging must still work
            return _Attributes()


_current: ContextVar[RequestContext | None] = ContextVar("request_context", default=None)


def start(headers: Iterable[tuple[bytes, bytes]] = ()) -> RequestContext:
    """Create a context and make it the current one of this task."""
    context = RequestContext(headers)
    _current.set(context)
    return context


def start_event(topic: str, body: bytes) -> RequestContext:
    """Create the current context of an event that did not arrive in an HTTP request."""
    context = start()
    context.topic, context.body = topic, body
    return context


def current() -> RequestContext | None:
    """Return the context of the current task, or None."""
    return _current.get()
