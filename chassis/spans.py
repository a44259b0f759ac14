"""Spans: a request, an event that is brought, one that is published, a call to the sidecar. Imported only if wanted.

A trace begins at a request, where it is decided whether it is sampled; an event carries the context of whoever
published it, in its attributes, so that it also survives a record's outbox, a pending command and a dead letter. What
carries no context is in no trace. No span holds a key, a body or anything that a caller wrote.
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

from chassis import request_context
from chassis.metrics import DONE
from chassis.request_context import TRACEPARENT, RequestContext


class _EventAttributes(msgspec.Struct):
    """What is read of an event that is published."""

    id: str = ""
    traceparent: str = ""


class Spans:
    """Makes the spans of one process."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("sidecart")

    @classmethod
    def of(cls, service: str, exporter: SpanExporter) -> Spans:
        """Spans that go out in batches; the SDK reads the other OTEL_ settings."""
        # OTEL_SERVICE_NAME is for what has no name of its own.
        provider = TracerProvider(resource=Resource.create({SERVICE_NAME: service}), shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(exporter))
        return cls(provider)

    def end(self) -> None:
        """Send what is left."""
        self._provider.shutdown()

    # --- What is handled

    @contextmanager
    def request(self, context: RequestContext, method: str, *, starts_trace: bool) -> Iterator[None]:
        """One request; one that comes in no trace begins one, if it may."""
        traceparent = context.traceparent
        if traceparent or starts_trace:
            parent = context_of(traceparent) if traceparent else Context()
            with self._handling(context, method, parent, SpanKind.SERVER, {"http.request.method": method}):
                yield
        else:
            yield

    def set_response(self, context: RequestContext, method: str, route: str, status: int) -> None:
        """Say of a request which route took it, as it was registered, and what it was answered."""
        if context.span is not None:
            context.span.update_name(f"{method} {route}")
            context.span.set_attributes({"http.route": route, "http.response.status_code": status})
            if status >= 500:
                _failed(context.span, str(status))

    @contextmanager
    def event(self, context: RequestContext) -> Iterator[None]:
        """One event that was brought."""
        attributes = _message_attributes(context.topic, context.event_id)
        with self._handling(
            context, f"process {context.topic}", context_of(context.traceparent), SpanKind.CONSUMER, attributes
        ):
            yield

    def set_outcome(self, context: RequestContext, outcome: str) -> None:
        """Say what became of an event."""
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
        """Nothing without a parent: it is in no trace, or in one that is not sampled."""
        span = None if parent is None else self._tracer.start_span(name, parent, kind, attributes)
        if span is None or not span.is_recording():
            yield
            return
        context.span = span
        context.set_trace(trace.format_trace_id(span.get_span_context().trace_id))
        with _until_done(span):
            yield
        context.span = None

    # --- What is done for it

    @contextmanager
    def call(self, name: str) -> Iterator[str]:
        """One call to somebody else, and its `traceparent`; empty if nothing that is traced is handled."""
        parent = _handled_span()
        if parent is None:
            yield ""
            return
        span = self._tracer.start_span(name, set_span_in_context(parent, Context()), SpanKind.CLIENT)
        with _until_done(span):
            yield _written(span)[1]

    def attributes(self) -> tuple[str | msgspec.UnsetType, str | msgspec.UnsetType]:
        """What an event that is made now has to carry: the context of what is handled.

        Both attributes: without the first a sidecar overwrites the second (docs/adr/0031-observability.md).
        """
        span = _handled_span()
        return (msgspec.UNSET, msgspec.UNSET) if span is None else _written(span)

    @contextmanager
    def publish(self, topic: str, event: bytes) -> Iterator[tuple[bytes, str]]:
        """One event on its way out: as it goes, with the context of this very publish, and its `traceparent`.

        What was kept in an outbox or a pending command may be published later, or by another process: its own
        context says to which trace it belongs. One that carries none goes as it is.
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
        elif handling is not None:  # an older event's outbox is finished on the way
            links = [Link(handling.get_span_context())]
        span = self._tracer.start_span(
            f"publish {topic}", own, SpanKind.PRODUCER, _message_attributes(topic, published.id), links=links
        )
        with _until_done(span):
            if span.is_recording():
                traceid, traceparent = _written(span)
                whole: dict[str, Any] = msgspec.json.decode(event, type=dict[str, msgspec.Raw])
                yield msgspec.json.encode({**whole, "traceid": traceid, "traceparent": traceparent}), traceparent
            else:
                yield event, ""


def exporter() -> SpanExporter:
    """What sends spans by OTLP over HTTP, to where the standard's settings say."""
    return OTLPSpanExporter()


def context_of(traceparent: str) -> Context | None:
    """The context that a header or an attribute names, if it is well-formed and sampled."""
    found = TRACEPARENT.fullmatch(traceparent)
    if found is None or not int(found[3], 16) & TraceFlags.SAMPLED:
        return None
    remote = SpanContext(
        int(found[1], 16), int(found[2], 16), is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED)
    )
    return set_span_in_context(NonRecordingSpan(remote), Context())


@contextmanager
def _until_done(span: Span) -> Iterator[None]:
    """End a span with the block; an error that leaves it is named, and not quoted."""
    try:
        yield
    except BaseException as error:
        _failed(span, type(error).__name__)
        raise
    finally:
        span.end()


def _failed(span: Span, why: str) -> None:
    span.set_status(Status(StatusCode.ERROR))
    span.set_attribute("error.type", why)


def _handled_span() -> Span | None:
    context = request_context.current()
    return None if context is None else context.span


def _written(span: Span) -> tuple[str, str]:
    context = span.get_span_context()
    trace_id = trace.format_trace_id(context.trace_id)
    return trace_id, f"00-{trace_id}-{trace.format_span_id(context.span_id)}-01"


def _message_attributes(topic: str, event_id: str) -> dict[str, AttributeValue]:
    attributes: dict[str, AttributeValue] = {"messaging.system": "dapr", "messaging.destination.name": topic}
    return attributes | ({"messaging.message.id": event_id} if event_id else {})
