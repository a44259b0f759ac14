"""Traces, if OTEL_EXPORTER_OTLP_ENDPOINT says where they go. If not there is no tracer, and nothing of OpenTelemetry's
SDK is imported: whoever could make a span looks at one variable, and goes on.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from typing import TYPE_CHECKING

import msgspec

from chassis.request_context import RequestContext

if TYPE_CHECKING:
    from chassis.spans import Spans

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
FLUSH_SECONDS_MAX = 3.0  # a process that ends waits no longer for whoever takes its spans

spans: Spans | None = None
"""What makes them; None: nobody looks."""

Attribute = str | msgspec.UnsetType
_NONE: tuple[Attribute, Attribute] = (msgspec.UNSET, msgspec.UNSET)


def attributes() -> tuple[Attribute, Attribute]:
    """The `traceid` and `traceparent` of an event that is made now; unset, and so not written, unless it is traced."""
    return _NONE if spans is None else spans.attributes()


def handling(context: RequestContext) -> AbstractContextManager[None]:
    """The span of an event that no request has brought, for as long as the block runs."""
    return nullcontext() if spans is None else spans.event(context)


@asynccontextmanager
async def traced(name: str, environ: Mapping[str, str] = os.environ) -> AsyncIterator[None]:
    """Make spans under this service's name for as long as the block runs, if somebody wants them."""
    global spans
    if not environ.get(ENDPOINT):
        yield
        return
    from chassis.spans import Spans, exporter

    spans = made = Spans.of(name, exporter())
    try:
        yield
    finally:
        spans = None
        await _within(made.end, FLUSH_SECONDS_MAX)


async def _within(end: Callable[[], None], seconds: float) -> None:
    """Give it so long, in a thread that keeps no process alive."""
    thread = threading.Thread(target=end, name="last-spans", daemon=True)
    thread.start()
    await asyncio.to_thread(thread.join, seconds)
