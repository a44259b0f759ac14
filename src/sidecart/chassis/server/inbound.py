"""The entrance of an app: the app token, and a fast path that bypasses FastAPI's routing.

Events from the sidecar and held POST requests, the most frequent requests, take it.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from dapr.ext.fastapi import DaprApp
from fastapi import Request, Response
from prometheus_client import Counter
from starlette.types import ASGIApp, Receive, Scope, Send

from sidecart.chassis.dead_letters import DeadLetters
from sidecart.chassis.errors import PermanentError, TransientError, WriteRefused
from sidecart.chassis.events import delivered, is_replay
from sidecart.chassis.server.request_body import RequestBody, whole_body
from sidecart.chassis.server.routed import RoutedApp
from sidecart.chassis.store_health import StoreHealth
from sidecart.chassis.telemetry import metrics, request_context, tracing
from sidecart.chassis.telemetry.metrics import AGAIN, ANSWERED, BUG, DEAD, DONE, OTHER
from sidecart.chassis.telemetry.request_context import RequestContext

log = logging.getLogger(__name__)

EVENTS = "/events/"
RAW = {"rawPayload": "true"}
"""A subscription's metadata: the sidecar delivers each message without parsing it.

A sidecar that parses never delivers a message that it cannot parse. Here the app is the only
parser, and a message that is not an event becomes a dead letter (docs/adr/0033-raw-delivery.md).
"""
STATUS = {DONE: 200, DEAD: 200, AGAIN: 500, BUG: 500}

Handler = Callable[[bytes], Awaitable[None]]
Endpoint = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Subscription:
    """One topic of one pub/sub component, and the handler of its events.

    While `store` refuses writes, each event is returned at once, and the sidecar redelivers it a
    second later. In that time the app sends, publishes and mails nothing whose result it could not
    record.
    """

    component: str
    topic: str
    handle: Handler
    store: StoreHealth | None = None
    settle: Handler | None = None
    """Closes the dead letter of a handled replay; None: `DeadLetters.settle`."""

    @property
    def path(self) -> str:
        """Return the route that the sidecar delivers to: the SDK's default."""
        return f"{EVENTS}{self.component}/{self.topic}"


class InboundApp(RoutedApp):
    """An app that dispatches events and a few POST routes itself.

    The reason is speed: docs/explanation/performance.md.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._subscriptions: dict[str, tuple[Subscription, Mapping[str, Counter]]] = {}
        self._unrouted_outcomes = metrics.outcomes(OTHER)
        self._posts: dict[str, Endpoint] = {}
        self._dead_letters: DeadLetters | None = None

    def subscribe(self, subscriptions: Sequence[Subscription], dead_letters: DeadLetters | None) -> None:
        """Register the subscriptions with the sidecar.

        A permanent error becomes a dead letter, a transient one a redelivery. Without
        `dead_letters` a permanent error is only logged.
        """
        self._dead_letters = dead_letters
        dapr_app = DaprApp(self)  # answers /dapr/subscribe
        for subscription in subscriptions:
            self._subscriptions[subscription.path] = subscription, metrics.outcomes(subscription.topic)
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
        context, path = request_context.start(scope["headers"]), scope["path"]
        try:
            if scope["method"] != "POST":
                await self.route_request(context, scope, receive, send)
            elif path.startswith(EVENTS):
                await self._deliver(context, path, receive, send)
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

    async def _deliver(self, context: RequestContext, path: str, receive: Receive, send: Send) -> None:
        body = await whole_body(receive)
        outcome = AGAIN if body is None else await self._process(context, path, body)
        await send({"type": "http.response.start", "status": STATUS[outcome], "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    async def _process(self, context: RequestContext, path: str, body: bytes) -> str:
        subscription, outcomes = self._subscriptions.get(path, (None, self._unrouted_outcomes))
        if subscription is None:  # not 404: the sidecar would drop the event
            log.error("no subscription for %s", path[:200])
            outcome = AGAIN
        else:
            context.topic, context.body = subscription.topic, delivered(body)
            if (spans := tracing.spans) is None:
                outcome = await self._outcome(context, subscription, context.body)
            else:
                with spans.event(context):
                    outcome = await self._outcome(context, subscription, context.body)
                    spans.set_outcome(context, outcome)
        outcomes[outcome].inc()
        return outcome

    async def _outcome(self, context: RequestContext, subscription: Subscription, body: bytes) -> str:
        try:
            try:
                if subscription.store is not None and subscription.store.write_refusal:
                    raise WriteRefused(subscription.store.problem)
                await subscription.handle(body)
                if self._dead_letters is not None and is_replay(body):
                    settle = subscription.settle or partial(self._dead_letters.settle, subscription.topic)
                    await settle(body)
            except PermanentError as fault:
                # Only the dead letter has the reason: it may quote any text of the event.
                if self._dead_letters is not None:
                    await self._dead_letters.write(subscription.topic, body, fault.reason, context.traceparent)
                ending = "dropped" if self._dead_letters is None else "dead letter"
                log.error("%s from %s: %s", ending, subscription.topic, fault)
                return DEAD
        except TransientError as fault:
            log.warning("%s will be redelivered: %s", subscription.topic, fault)
            return AGAIN
        except Exception:
            log.exception("unexpected exception; the %s event will be redelivered", subscription.topic)
            return BUG
        return DONE


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

    def _is_ordinary(self, headers: Sequence[tuple[bytes, bytes]]) -> bool:
        names = dict(headers)
        return b"origin" not in names and names.get(b"host") in self._accepted


class SidecarAuth:
    """Middleware that answers 403 to a request for a protected path without the app token.

    It runs before all other code of the app.
    """

    def __init__(self, app: ASGIApp, token: str, protected: tuple[str, ...] = ("",), public: str = "") -> None:
        """Protect the paths that begin with one of `protected`, except for the path `public`."""
        self._app = app
        self._token = token.encode()
        self._protected = protected
        self._public = public

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 403."""
        if scope["type"] == "http" and self._is_protected(scope["path"]) and not self._has_token(scope["headers"]):
            refusal = Response("this route is for the sidecar: the dapr-api-token header is missing or wrong\n", 403)
            await RequestBody(receive).drain(scope)
            await refusal(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _is_protected(self, path: str) -> bool:
        return path.startswith(self._protected) and path != self._public

    def _has_token(self, headers: Sequence[tuple[bytes, bytes]]) -> bool:
        tokens = [value for name, value in headers if name == b"dapr-api-token"]
        return len(tokens) == 1 and hmac.compare_digest(tokens[0], self._token)


async def _never_reached() -> Response:
    """Fill the SDK's route table; `InboundApp` dispatches events before routing."""
    return Response(status_code=STATUS[AGAIN])
