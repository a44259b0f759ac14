"""Traces, exported only if OTEL_EXPORTER_OTLP_ENDPOINT is set.

Without that variable the process has no tracer and does not import the OpenTelemetry SDK. Code that
could create a span then checks one module variable, `spans`.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from typing import TYPE_CHECKING

from sidecart.chassis.telemetry.request_context import RequestContext

if TYPE_CHECKING:
    from sidecart.chassis.telemetry.spans import Spans

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
FLUSH_SECONDS_MAX = 3.0  # a process that stops waits this long for its last export of spans

spans: Spans | None = None
"""The active tracer, or None when tracing is off."""


def handling(context: RequestContext) -> AbstractContextManager[None]:
    """Return a context manager: the span of an event that did not arrive in an HTTP request."""
    return nullcontext() if spans is None else spans.event(context)


@asynccontextmanager
async def traced(name: str, environ: Mapping[str, str] = os.environ) -> AsyncIterator[None]:
    """Export spans under this service name while the block runs, if the endpoint is set."""
    global spans
    if not environ.get(ENDPOINT):
        yield
        return
    from sidecart.chassis.telemetry.spans import Spans, exporter

    spans = made = Spans.of(name, exporter())
    try:
        yield
    finally:
        spans = None
        await _within(made.end, FLUSH_SECONDS_MAX)


async def _within(end: Callable[[], None], seconds: float) -> None:
    """Run `end` for at most `seconds`, in a daemon thread, which cannot keep the process alive."""
    thread = threading.Thread(target=end, name="last-spans", daemon=True)
    thread.start()
    await asyncio.to_thread(thread.join, seconds)
