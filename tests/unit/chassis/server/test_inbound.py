"""Dispatch: events to subscriptions, a few POST routes to endpoints, the rest to FastAPI."""

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import httpx
import pytest
from fastapi import Request, Response

from sidecart.chassis.dead_letters import DeadLetters
from sidecart.chassis.errors import PermanentError, TransientError
from sidecart.chassis.server.inbound import InboundApp, Subscription
from tests.unit.chassis.fakes import FakeSidecar


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


def raising(error: Exception) -> Callable[[bytes], Awaitable[None]]:
    """Return a handler that raises this error."""

    async def handle(_body: bytes) -> None:
        raise error

    return handle


@pytest.mark.parametrize(
    ("error", "expected"),
    [(PermanentError("bad"), 200), (TransientError("unreachable"), 500), (KeyError("a bug"), 500)],
    ids=str,
)
def test_a_permanent_error_is_acknowledged_and_others_are_redelivered(error: Exception, expected: int) -> None:
    """A permanent error is answered 200; a transient error or a bug is answered 500."""
    app = InboundApp()
    app.subscribe([Subscription("inbox", "Lamp", raising(error))], dead_letters=None)

    assert (expected, b"") == ((answer := ask(app, "POST", "/events/inbox/Lamp")).status_code, answer.content)


REPLAYED = b'{"id": "00000000-0000-0000-0000-000000000001", "replay": "true"}'


@pytest.mark.parametrize(
    ("message", "error", "status"),
    [
        (REPLAYED, None, "replayed"),
        (REPLAYED.replace(b"replay", b"other"), None, "replaying"),
        (REPLAYED, TransientError("unreachable"), "replaying"),
        (REPLAYED, PermanentError("still bad"), None),
    ],
)
def test_a_handled_replay_closes_its_dead_letter(message: bytes, error: Exception | None, status: str | None) -> None:
    """One that fails opens it again; one that will be redelivered leaves it."""
    sidecar, key = FakeSidecar(), "dead:00000000-0000-0000-0000-000000000001"
    sidecar.put(key, b'{"status": "replaying", "event": ""}')
    app = InboundApp()
    handle = raising(error) if error else nothing
    app.subscribe([Subscription("inbox", "Lamp", handle)], DeadLetters(sidecar, lambda: datetime.now(UTC)))
    ask(app, "POST", "/events/inbox/Lamp", delivery(message))

    assert status == sidecar.read(key).get("status")


def test_a_service_may_close_its_dead_letters_itself() -> None:
    """The subscription's own function gets the event instead."""
    sidecar, closed = FakeSidecar(), list[bytes]()

    async def settle(body: bytes) -> None:
        closed.append(body)

    app = InboundApp()
    letters = DeadLetters(sidecar, lambda: datetime.now(UTC))
    app.subscribe([Subscription("inbox", "Lamp", nothing, settle=settle)], letters)
    ask(app, "POST", "/events/inbox/Lamp", delivery(REPLAYED))

    assert ([REPLAYED], []) == (closed, sidecar.calls)


async def nothing(_body: bytes) -> None:
    """Handle an event."""


def delivery(message: bytes) -> bytes:
    """Return a message as a sidecar delivers it raw."""
    invented = {"id": "another each time", "type": "com.dapr.event.sent", "data": 7}
    return json.dumps({"data_base64": base64.b64encode(message).decode(), **invented}).encode()


@pytest.mark.parametrize("message", [b"", b"hello", b"\xff\x00", b'{"id": "x"}', delivery(b"inner")], ids=repr)
def test_a_raw_message_is_handled_byte_for_byte(message: bytes) -> None:
    """A raw delivery is unwrapped exactly once, and the subscription asks for raw deliveries."""
    seen: list[bytes] = []

    async def handle(body: bytes) -> None:
        seen.append(body)

    app = InboundApp()
    app.subscribe([Subscription("inbox", "Lamp", handle)], dead_letters=None)

    assert 200 == ask(app, "POST", "/events/inbox/Lamp", delivery(message)).status_code
    assert [message] == seen
    assert [{"rawPayload": "true"}] == [each["metadata"] for each in ask(app, "GET", "/dapr/subscribe").json()]


@pytest.mark.parametrize("body", [b"", b"hello", b"[]", b'{"data_base64": 7}', b'{"data_base64": "?"}', b"[" * 50_000])
def test_a_body_that_is_not_a_raw_delivery_is_the_message(body: bytes) -> None:
    """A body without valid `data_base64` is the message: a sidecar that parses delivers it so."""
    seen: list[bytes] = []

    async def handle(message: bytes) -> None:
        seen.append(message)

    app = InboundApp()
    app.subscribe([Subscription("inbox", "Lamp", handle)], dead_letters=None)
    ask(app, "POST", "/events/inbox/Lamp", body)

    assert [body] == seen


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
