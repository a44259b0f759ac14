"""What an app is asked most, past FastAPI's middleware and routing: the sidecar's events, and posts that are held."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from dapr.ext.fastapi import DaprApp
from fastapi import FastAPI, Request, Response
from starlette.types import Receive, Scope, Send

from chassis.dead_letters import DeadLetters
from chassis.errors import EventFault, WorldFault

log = logging.getLogger(__name__)

EVENTS = "/events/"
DONE, AGAIN = 200, 500

Handler = Callable[[bytes], Awaitable[None]]
Endpoint = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Subscription:
    """One topic of one pub/sub component, and what takes its events."""

    component: str
    topic: str
    handle: Handler

    @property
    def path(self) -> str:
        """Where the sidecar brings them: the SDK's own default."""
        return f"{EVENTS}{self.component}/{self.topic}"


class InboundApp(FastAPI):
    """FastAPI, but for events and a few posts: those go to whom they are for as they come (docs/performance.md)."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._subscriptions: dict[str, Subscription] = {}
        self._posts: dict[str, Endpoint] = {}
        self._dead_letters: DeadLetters | None = None

    def subscribe(self, subscriptions: Sequence[Subscription], dead_letters: DeadLetters | None) -> None:
        """Register each topic with the sidecar; an event's fault becomes a dead letter, the world's a redelivery."""
        self._dead_letters = dead_letters
        told = DaprApp(self)  # answers /dapr/subscribe
        for subscription in subscriptions:
            self._subscriptions[subscription.path] = subscription
            told.subscribe(subscription.component, subscription.topic)(_never_reached)
        for route in self.routes:
            if getattr(route, "path", "").startswith(("/dapr/", EVENTS)):
                # The sidecar's routes are in no public document. Only API routes have such paths.
                route.include_in_schema = False  # type: ignore[attr-defined]  # see above

    def answer_directly(self, path: str, endpoint: Endpoint) -> None:
        """Have a POST of this very path answered by the endpoint, its exceptions by the app's handlers."""
        self._posts[path] = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take an event, or pass on."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await super().__call__(scope, receive, send)
        elif scope["path"].startswith(EVENTS):
            await self._bring(scope, receive, send)
        elif (endpoint := self._posts.get(scope["path"])) is not None:
            scope["app"] = self
            request = Request(scope, receive)
            response = await self._answer(endpoint, request)
            await response(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    async def _answer(self, endpoint: Endpoint, request: Request) -> Response:
        try:
            return await endpoint(request)
        except Exception as error:
            for kind in type(error).__mro__:
                if kind in self.exception_handlers:
                    handle = cast(Callable[[Request, Exception], Awaitable[Response]], self.exception_handlers[kind])
                    return await handle(request, error)
            raise

    async def _bring(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _body(receive)
        status = AGAIN if body is None else await self._take(scope, body)
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    async def _take(self, scope: Scope, body: bytes) -> int:
        subscription = self._subscriptions.get(scope["path"])
        if subscription is None:  # not 404: for the sidecar that would mean that the event may go
            log.error("nobody here takes what came to %s", scope["path"][:200])
            return AGAIN
        try:
            try:
                await subscription.handle(body)
            except EventFault as fault:
                log.error("dead letter from %s: %s", subscription.topic, fault)
                if self._dead_letters is not None:
                    trace = dict(scope["headers"]).get(b"traceparent", b"").decode("latin-1")
                    await self._dead_letters.write(subscription.topic, body, str(fault), trace)
        except WorldFault as fault:
            log.warning("%s comes again: %s", subscription.topic, fault)
            return AGAIN
        except Exception:
            log.exception("a bug; the event of %s comes again", subscription.topic)
            return AGAIN
        return DONE


async def _body(receive: Receive) -> bytes | None:
    """The whole body, or None if the sidecar is gone."""
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += bytes(message.get("body", b""))
        if not message.get("more_body"):
            return body


async def _never_reached() -> Response:
    """What the SDK lists as a route: events go another way."""
    return Response(status_code=AGAIN)
