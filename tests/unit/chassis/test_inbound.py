"""What goes past the routing: events to their subscriptions, a few posts to their endpoints, the rest to FastAPI."""

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable

import httpx
import pytest
from fastapi import Request, Response

from chassis.errors import PermanentError, TransientError
from chassis.inbound import InboundApp, Subscription


class Refused(Exception):
    """What the app has a handler for."""


class SpecialRefused(Refused):
    """A kind of it."""


def ask(app: InboundApp, method: str, path: str, body: bytes = b"") -> httpx.Response:
    """One request."""

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://lamps") as http:
            return await http.request(method, path, content=body)

    return asyncio.run(send())


def raising(error: Exception) -> Callable[[bytes], Awaitable[None]]:
    """A handler that fails."""

    async def handle(_body: bytes) -> None:
        raise error

    return handle


@pytest.mark.parametrize(
    ("error", "expected"),
    [(PermanentError("bad"), 200), (TransientError("unreachable"), 500), (KeyError("a bug"), 500)],
    ids=str,
)
def test_an_event_is_done_or_comes_again(error: Exception, expected: int) -> None:
    """Its own fault: never again; the world's or a bug: later."""
    app = InboundApp()
    app.subscribe([Subscription("inbox", "Lamp", raising(error))], dead_letters=None)

    assert (expected, b"") == ((answer := ask(app, "POST", "/events/inbox/Lamp")).status_code, answer.content)


def delivery(message: bytes) -> bytes:
    """What a sidecar makes of a message that it does not look into."""
    made_up = {"id": "another each time", "type": "com.dapr.event.sent", "data": 7}
    return json.dumps({"data_base64": base64.b64encode(message).decode(), **made_up}).encode()


@pytest.mark.parametrize("message", [b"", b"hello", b"\xff\x00", b'{"id": "x"}', delivery(b"inner")], ids=repr)
def test_an_event_is_handled_as_the_broker_keeps_it(message: bytes) -> None:
    """Once it is unwrapped, and only once; the sidecar is told not to look into it."""
    seen: list[bytes] = []

    async def handle(body: bytes) -> None:
        seen.append(body)

    app = InboundApp()
    app.subscribe([Subscription("inbox", "Lamp", handle)], dead_letters=None)

    assert 200 == ask(app, "POST", "/events/inbox/Lamp", delivery(message)).status_code
    assert [message] == seen
    assert [{"rawPayload": "true"}] == [each["metadata"] for each in ask(app, "GET", "/dapr/subscribe").json()]


@pytest.mark.parametrize("body", [b"", b"hello", b"[]", b'{"data_base64": 7}', b'{"data_base64": "?"}', b"[" * 50_000])
def test_a_body_without_a_message_in_it_is_the_message(body: bytes) -> None:
    """A sidecar that parses what it delivers delivers it so."""
    seen: list[bytes] = []

    async def handle(taken: bytes) -> None:
        seen.append(taken)

    app = InboundApp()
    app.subscribe([Subscription("inbox", "Lamp", handle)], dead_letters=None)
    ask(app, "POST", "/events/inbox/Lamp", body)

    assert [body] == seen


def test_an_event_that_nobody_takes_comes_again() -> None:
    """A 404 would tell the sidecar that it may go."""
    assert 500 == ask(InboundApp(), "POST", "/events/inbox/Lamp").status_code


def test_a_post_goes_to_its_endpoint_and_its_exceptions_to_the_apps_handlers() -> None:
    """By the nearest kind; other methods and paths go to FastAPI."""
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
