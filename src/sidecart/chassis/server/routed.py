"""An app whose requests FastAPI routes, with HEAD, metrics and spans."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.types import Message, Receive, Scope, Send

from sidecart.chassis.server.request_body import RequestBody
from sidecart.chassis.telemetry import tracing
from sidecart.chassis.telemetry.metrics import ANSWERED, OTHER
from sidecart.chassis.telemetry.request_context import RequestContext


class RoutedApp(FastAPI):
    """A FastAPI app."""

    async def route_request(self, context: RequestContext, scope: Scope, receive: Receive, send: Send) -> None:
        """Let FastAPI handle the request.

        Metrics count it by the matched route, not by the path.
        """
        status, spans, method = 500, tracing.spans, scope["method"]
        # HEAD is GET without the content (RFC 9110 section 9.3.2). FastAPI's routes match GET only.
        routed: Scope = {**scope, "method": "GET"} if method == "HEAD" else scope
        body = RequestBody(receive)

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _allow_head(message)
                await body.drain(scope)
                if spans is not None:
                    spans.set_response(context, method, _route_of(routed), status)
            elif method == "HEAD" and message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        try:
            if spans is None:
                await super().__call__(routed, body, note)
            else:
                with spans.request(context, method, starts_trace=False):
                    await super().__call__(routed, body, note)
        finally:
            ANSWERED[_route_of(routed), status].inc()


def _allow_head(message: Message) -> None:
    """Add HEAD to the Allow header of a 405 response that allows GET."""
    if message["status"] == 405:
        message["headers"] = [
            (name, _with_head(value) if name == b"allow" else value) for name, value in message["headers"]
        ]


def _with_head(allowed: bytes) -> bytes:
    methods = allowed.split(b", ")
    is_missing = b"GET" in methods and b"HEAD" not in methods
    return allowed.replace(b"GET", b"GET, HEAD") if is_missing else allowed


def _route_of(scope: Scope) -> str:
    """Return the registered route of a request that was routed, or `OTHER`."""
    return getattr(scope.get("route"), "path", OTHER)
