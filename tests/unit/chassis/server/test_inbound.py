"""Dispatch: events to subscriptions, a few POST routes to endpoints, the rest to FastAPI."""

import asyncio

import httpx
from fastapi import Request, Response

from sidecart.chassis.errors import TransientError
from sidecart.chassis.server.deliveries import Subscription
from sidecart.chassis.server.inbound import InboundApp


class Refused(Exception):
    """An exception with a handler in the app."""


class SpecialRefused(Refused):
    """A subclass without a handler."""


def ask(app: InboundApp, method: str, path: str, body: bytes = b"") -> httpx.Response:
    """Send one request and return the response."""

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://lamps") as http:
            return await http.request(method, path, content=body)

    return asyncio.run(send())


def test_a_delivery_through_asgi_is_processed() -> None:
    """It gets the status of its outcome and no content; the subscription asks for raw messages."""
    seen: list[bytes] = []

    async def handle(body: bytes) -> None:
        seen.append(body)
        if body == b"no":
            raise TransientError("unreachable")

    app = InboundApp()
    app.subscribe([Subscription("inbox", "Lamp", handle)], dead_letters=None)
    answers = [ask(app, "POST", "/events/inbox/Lamp", body) for body in (b"on", b"no")]

    assert [(200, b""), (500, b"")] == [(answer.status_code, answer.content) for answer in answers]
    assert [b"on", b"no"] == seen
    assert [{"rawPayload": "true"}] == [each["metadata"] for each in ask(app, "GET", "/dapr/subscribe").json()]


def test_an_event_without_a_subscription_is_redelivered() -> None:
    """An event without a subscription is answered 500; after a 404 the sidecar would drop it."""
    assert 500 == ask(InboundApp(), "POST", "/events/inbox/Lamp").status_code


def test_a_post_goes_to_its_endpoint_and_its_exceptions_to_the_apps_handlers() -> None:
    """A direct POST uses the app's exception handler for the nearest base class."""
    app = InboundApp()

    async def endpoint(request: Request) -> Response:
        if await request.body() == b"refuse":
            raise SpecialRefused
        return Response(await request.body(), 201)

    @app.exception_handler(Refused)
    async def refused(_request: Request, _error: Exception) -> Response:
        return Response(status_code=418)

    app.answer_directly("/lamp", endpoint)

    answers = [
        ask(app, "POST", "/lamp", b"on"),
        ask(app, "POST", "/lamp", b"refuse"),
        ask(app, "GET", "/lamp"),
        ask(app, "POST", "/lamps"),
    ]
    assert [201, 418, 404, 404] == [answer.status_code for answer in answers]
    assert b"on" == answers[0].content
