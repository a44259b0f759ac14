"""Spans of requests, delivered events, published events and sidecar calls.

This module is imported only while tracing is on. A trace begins at a request, where the sampling
decision is made. An event carries the context of its publisher in its attributes; the context
therefore also survives an outbox, a pending command and a dead letter. An event without a context
belongs to no trace. No span contains a key, a body or other text from a client.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)
from opentelemetry.util.types import AttributeValue

from sidecart.chassis.telemetry import request_context
from sidecart.chassis.telemetry.metrics import DONE
from sidecart.chassis.telemetry.request_context import RequestContext
from sidecart.chassis.telemetry.traceparent import TRACEPARENT


class _EventAttributes(msgspec.Struct):
    """The attributes that are read of an event to publish."""

    id: str = ""
    traceparent: str = ""


class Spans:
    """Creates the spans of one process."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("sidecart")

    @classmethod
    def of(cls, service: str, exporter: SpanExporter) -> Spans:
        """Return spans that are exported in batches; the SDK reads the other OTEL_ settings."""
        # The service name overrides OTEL_SERVICE_NAME.
        provider = TracerProvider(resource=Resource.create({SERVICE_NAME: service}), shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(exporter))
        return cls(provider)

    def end(self) -> None:
        """Export the remaining spans and shut down."""
        self._provider.shutdown()

    # --- Incoming: requests and events

    @contextmanager
    def request(self, context: RequestContext, method: str, *, starts_trace: bool) -> Iterator[None]:
        """Trace one request.

        A request without an incoming context begins a trace only if `starts_trace` is set.
        """
        traceparent = context.traceparent
        if traceparent or starts_trace:
            parent = context_of(traceparent) if traceparent else Context()
            with self._handling(context, method, parent, SpanKind.SERVER, {"http.request.method": method}):
                yield
        else:
            yield

    def set_response(self, context: RequestContext, method: str, route: str, status: int) -> None:
        """Add the registered route and the status of the response to the span of a request."""
        if context.span is not None:
            context.span.update_name(f"{method} {route}")
            context.span.set_attributes({"http.route": route, "http.response.status_code": status})
            if status >= 500:
                _failed(context.span, str(status))

    @contextmanager
    def event(self, context: RequestContext) -> Iterator[None]:
        """Trace the processing of one delivered event."""
        attributes = _message_attributes(context.topic, context.event_id)
        with self._handling(
            context, f"process {context.topic}", context_of(context.traceparent), SpanKind.CONSUMER, attributes
        ):
            yield

    def set_outcome(self, context: RequestContext, outcome: str) -> None:
        """Add the outcome to the span of an event."""
        if context.span is not None:
            context.span.set_attribute("sidecart.outcome", outcome)
            if outcome != DONE:
                _failed(context.span, outcome)

    @contextmanager
    def _handling(
        self,
        context: RequestContext,
        name: str,
        parent: Context | None,
        kind: SpanKind,
        attributes: dict[str, AttributeValue],
    ) -> Iterator[None]:
        """Open the span of the context; without a parent, or in an unsampled trace, do nothing."""
        span = None if parent is None else self._tracer.start_span(name, parent, kind, attributes)
        if span is None or not span.is_recording():
            yield
            return
        context.span = span
        context.set_trace(trace.format_trace_id(span.get_span_context().trace_id))
        with _until_done(span):
            yield
        context.span = None

    # --- Outgoing: calls and publishes

    @contextmanager
    def call(self, name: str) -> Iterator[str]:
        """Trace one outgoing call, and yield its `traceparent`.

        It is empty unless the current context is traced.
        """
        parent = _handled_span()
        if parent is None:
            yield ""
            return
        span = self._tracer.start_span(name, set_span_in_context(parent, Context()), SpanKind.CLIENT)
        with _until_done(span):
            yield _ids(span)[1]

    def attributes(self) -> dict[str, str]:
        """Return `traceid` and `traceparent` for an event created now; empty outside a trace.

        Both are needed: without the first, the sidecar's HTTP API overwrites the second
        (docs/adr/0031-observability.md).
        """
        span = _handled_span()
        return {} if span is None else dict(zip(("traceid", "traceparent"), _ids(span), strict=True))

    @contextmanager
    def publish(self, topic: str, event: bytes) -> Iterator[tuple[bytes, str]]:
        """Trace one publish, and yield the event with its trace context, and its `traceparent`.

        An event of an outbox or a pending command may be published later, or by another process.
        The event's own context therefore decides its trace. An event without a context is left
        unchanged.
        """
        published = msgspec.json.decode(event, type=_EventAttributes)
        own = context_of(published.traceparent)
        if own is None:
            yield event, ""
            return
        handling, origin = _handled_span(), trace.get_current_span(own).get_span_context()
        links = []
        if handling is not None and handling.get_span_context().trace_id == origin.trace_id:
            own = set_span_in_context(handling, Context())
        elif handling is not None:  # the outbox entry belongs to an older event
            links = [Link(handling.get_span_context())]
        span = self._tracer.start_span(
            f"publish {topic}", own, SpanKind.PRODUCER, _message_attributes(topic, published.id), links=links
        )
        with _until_done(span):
            if span.is_recording():
                traceid, traceparent = _ids(span)
                whole: dict[str, Any] = msgspec.json.decode(event, type=dict[str, msgspec.Raw])
                yield msgspec.json.encode({**whole, "traceid": traceid, "traceparent": traceparent}), traceparent
            else:
                yield event, ""


def exporter() -> SpanExporter:
    """Return an exporter for OTLP over HTTP; the OTEL_ settings name its endpoint."""
    return OTLPSpanExporter()


def context_of(traceparent: str) -> Context | None:
    """Return the context of a header or an attribute if it is well-formed and sampled, or None."""
    found = TRACEPARENT.fullmatch(traceparent)
    if found is None or not int(found[3], 16) & TraceFlags.SAMPLED:
        return None
    remote = SpanContext(
        int(found[1], 16), int(found[2], 16), is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED)
    )
    return set_span_in_context(NonRecordingSpan(remote), Context())


@contextmanager
def _until_done(span: Span) -> Iterator[None]:
    """End the span with the block; an exception is recorded by type only, not by message."""
    try:
        yield
    except BaseException as error:
        _failed(span, type(error).__name__)
        raise
    finally:
        span.end()


def _failed(span: Span, error_type: str) -> None:
    span.set_status(Status(StatusCode.ERROR))
    span.set_attribute("error.type", error_type)


def _handled_span() -> Span | None:
    context = request_context.current()
    return None if context is None else context.span


def _ids(span: Span) -> tuple[str, str]:
    context = span.get_span_context()
    trace_id = trace.format_trace_id(context.trace_id)
    return trace_id, f"00-{trace_id}-{trace.format_span_id(context.span_id)}-01"


def _message_attributes(topic: str, event_id: str) -> dict[str, AttributeValue]:
    attributes: dict[str, AttributeValue] = {"messaging.system": "dapr", "messaging.destination.name": topic}
    return attributes | ({"messaging.message.id": event_id} if event_id else {})
