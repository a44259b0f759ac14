"""The entrance of an app: the app token, and a fast path that bypasses FastAPI's routing.

Events from the sidecar and held POST requests, the most frequent requests, take it.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Sequence, Set
from typing import Any, cast

from dapr.ext.fastapi import DaprApp
from fastapi import Request, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from sidecart.chassis.dead_letters import DeadLetters
from sidecart.chassis.server.deliveries import EVENTS, REDELIVERED, Deliveries, Headers, Subscription
from sidecart.chassis.server.request_body import RequestBody, whole_body
from sidecart.chassis.server.routed import RoutedApp
from sidecart.chassis.telemetry import request_context, tracing
from sidecart.chassis.telemetry.metrics import ANSWERED
from sidecart.chassis.telemetry.request_context import RequestContext

RAW = {"rawPayload": "true"}
"""A subscription's metadata: the sidecar delivers each message without parsing it.

A sidecar that parses never delivers a message that it cannot parse. Here the app is the only
parser, and a message that is not an event becomes a dead letter (docs/adr/0033-raw-delivery.md).
"""

Endpoint = Callable[[Request], Awaitable[Response]]


class InboundApp(RoutedApp):
    """An app that dispatches events and a few POST routes itself.

    The reason is speed: docs/explanation/performance.md.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.deliveries = Deliveries()
        self._posts: dict[str, Endpoint] = {}

    def subscribe(self, subscriptions: Sequence[Subscription], dead_letters: DeadLetters | None) -> None:
        """Register the subscriptions with the sidecar, and their handlers with `deliveries`."""
        self.deliveries.subscribe(subscriptions, dead_letters)
        dapr_app = DaprApp(self)  # answers /dapr/subscribe
        for subscription in subscriptions:
            dapr_app.subscribe(subscription.component, subscription.topic, RAW)(_never_reached)
        for route in self.routes:
            if getattr(route, "path", "").startswith(("/dapr/", EVENTS)):
                # The OpenAPI document omits the sidecar's routes. Only API routes have such paths.
                route.include_in_schema = False  # type: ignore[attr-defined]  # see above

    def answer_directly(self, path: str, endpoint: Endpoint) -> None:
        """Send POST requests with exactly this path to the endpoint.

        The app's exception handlers handle its exceptions.
        """
        self._posts[path] = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Dispatch an event, a direct POST or any other request, within its own request context."""
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        is_post, path = scope["method"] == "POST", scope["path"]
        if is_post and path.startswith(EVENTS):
            await self._deliver(path, scope["headers"], receive, send)
            return
        context = request_context.start(scope["headers"])
        try:
            if not is_post:
                await self.route_request(context, scope, receive, send)
            elif (endpoint := self._posts.get(path)) is not None:
                await self._post(context, endpoint, scope, receive, send)
            else:
                await self.route_request(context, scope, receive, send)
        finally:
            context.release()

    async def _post(
        self, context: RequestContext, endpoint: Endpoint, scope: Scope, receive: Receive, send: Send
    ) -> None:
        scope["app"] = self
        body = RequestBody(receive)
        request, path = Request(scope, body), scope["path"]
        if (spans := tracing.spans) is None:
            response = await self._answer(endpoint, request)
        else:
            with spans.request(context, "POST", starts_trace=True):
                response = await self._answer(endpoint, request)
                spans.set_response(context, "POST", path, response.status_code)
        ANSWERED[path, response.status_code].inc()
        if response.status_code >= 400:
            await body.drain(scope)
        await response(scope, receive, send)

    async def _answer(self, endpoint: Endpoint, request: Request) -> Response:
        try:
            return await endpoint(request)
        except Exception as error:
            for kind in type(error).__mro__:
                if kind in self.exception_handlers:
                    handle = cast(Callable[[Request, Exception], Awaitable[Response]], self.exception_handlers[kind])
                    return await handle(request, error)
            raise

    async def _deliver(self, path: str, headers: Headers, receive: Receive, send: Send) -> None:
        body = await whole_body(receive)
        status = REDELIVERED if body is None else await self.deliveries.process(path, headers, body)
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})


class PublicGate:
    """Middleware that forwards an ordinary request at once.

    It has no Origin, and a Host that `examine` accepted before. `examine` gets all others.
    """

    def __init__(self, app: ASGIApp, examine: ASGIApp, accepted: Set[bytes]) -> None:
        self._app = app
        self._examine = examine
        self._accepted = accepted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward or examine the request."""
        is_ordinary = scope["type"] != "http" or self._is_ordinary(scope["headers"])
        await (self._app if is_ordinary else self._examine)(scope, receive, send)

    def _is_ordinary(self, headers: Headers) -> bool:
        names = dict(headers)
        return b"origin" not in names and names.get(b"host") in self._accepted


class SidecarAuth:
    """Middleware that answers 403 to a request for a protected path without the app token.

    It runs before all other code of the app. `DirectHttp` asks it too, before it bypasses ASGI.
    """

    def __init__(self, app: ASGIApp, token: str, protected: tuple[str, ...] = ("",), public: str = "") -> None:
        """Protect the paths that begin with one of `protected`, except for the path `public`."""
        self._app = app
        self._token = token.encode()
        self._protected = protected
        self._public = public

    def admits(self, path: str, headers: Headers) -> bool:
        """Return whether the path needs no token, or the headers have exactly the right one."""
        return not self._is_protected(path) or self._has_token(headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 403."""
        if scope["type"] == "http" and not self.admits(scope["path"], scope["headers"]):
            refusal = Response("this route is for the sidecar: the dapr-api-token header is missing or wrong\n", 403)
            await RequestBody(receive).drain(scope)
            await refusal(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _is_protected(self, path: str) -> bool:
        return path.startswith(self._protected) and path != self._public

    def _has_token(self, headers: Headers) -> bool:
        tokens = [value for name, value in headers if name == b"dapr-api-token"]
        return len(tokens) == 1 and hmac.compare_digest(tokens[0], self._token)


async def _never_reached() -> Response:
    """Fill the SDK's route table; `InboundApp` dispatches events before routing."""
    return Response(status_code=REDELIVERED)
