"""A receiver of spans: OTLP over HTTP with protobuf, like a collector; it can draw a trace as a
tree.
"""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

PATH = "/v1/traces"


@dataclass(frozen=True, slots=True)
class Span:
    """One received span."""

    service: str
    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str
    attributes: dict[str, Any]


class Receiver:
    """Listens on a free loopback port; a context manager."""

    def __init__(self) -> None:
        self._spans: dict[str, Span] = {}
        self._changed = threading.Condition()
        self._server = _Server(self._take)

    @property
    def endpoint(self) -> str:
        """The value for OTEL_EXPORTER_OTLP_ENDPOINT."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), name="otlp", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def trace(self, trace_id: str) -> list[Span]:
        """Return the spans of a trace received so far."""
        with self._changed:
            return [span for span in self._spans.values() if span.trace_id == trace_id]

    @property
    def spans(self) -> list[Span]:
        """All spans received so far."""
        with self._changed:
            return list(self._spans.values())

    def wait(self, trace_id: str, complete: Callable[[list[Span]], bool], seconds: float) -> list[Span]:
        """Wait until a trace is complete; return its spans."""
        end = time.monotonic() + seconds
        with self._changed:
            while not complete(spans := [each for each in self._spans.values() if each.trace_id == trace_id]):
                remaining = end - time.monotonic()
                assert remaining > 0, f"incomplete after {seconds} s:\n{as_tree(spans)}"
                self._changed.wait(remaining)
        return spans

    def _take(self, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        with self._changed:
            for group in request.resource_spans:
                service = {each.key: each.value.string_value for each in group.resource.attributes}["service.name"]
                for scope in group.scope_spans:
                    for span in scope.spans:
                        output = {each.key: _value(each.value) for each in span.attributes}
                        ids = span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()
                        self._spans[ids[1]] = Span(service, span.name, span.kind, *ids, output)
            self._changed.notify_all()


def _value(value: Any) -> Any:
    return getattr(value, value.WhichOneof("value"))


def as_tree(spans: list[Span], parent_id: str = "", depth: int = 0) -> str:
    """Return a tree as text; a span with an unknown parent starts at the left edge."""
    known = {span.span_id for span in spans}
    here = [span for span in spans if (span.parent_id if span.parent_id in known else "") == parent_id]
    return "".join(
        f"{'  ' * depth}{span.service}: {span.name}\n{as_tree(spans, span.span_id, depth + 1)}" for span in here
    )


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, take: Callable[[bytes], None]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.take = take


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        """Store the spans of one request."""
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        self.server.take(body)
        self.send_response(200 if self.path == PATH else 404)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Write no log."""
