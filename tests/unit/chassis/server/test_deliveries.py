"""Deliveries: from the message of a sidecar to the outcome of its event."""

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable

import pytest

from sidecart.chassis.errors import PermanentError, TransientError
from sidecart.chassis.server.deliveries import Deliveries, Handler, Subscription

PATH = "/events/inbox/Lamp"


def to(handle: Handler) -> Deliveries:
    """Return the deliveries of an app with one topic."""
    made = Deliveries()
    made.subscribe([Subscription("inbox", "Lamp", handle)], dead_letters=None)
    return made


def raising(error: Exception) -> Callable[[bytes], Awaitable[None]]:
    """Return a handler that raises this error."""

    async def handle(_body: bytes) -> None:
        raise error

    return handle


def handled(body: bytes) -> list[bytes]:
    """Return the messages that a handler gets for this delivery."""
    seen: list[bytes] = []

    async def handle(message: bytes) -> None:
        seen.append(message)

    assert 200 == asyncio.run(to(handle).process(PATH, [], body))
    return seen


@pytest.mark.parametrize(
    ("error", "expected"),
    [(PermanentError("bad"), 200), (TransientError("unreachable"), 500), (KeyError("a bug"), 500)],
    ids=str,
)
def test_a_permanent_error_is_acknowledged_and_others_are_redelivered(error: Exception, expected: int) -> None:
    """A permanent error is answered 200; a transient error or a bug is answered 500."""
    assert expected == asyncio.run(to(raising(error)).process(PATH, [], b"on"))


def delivery(message: bytes) -> bytes:
    """Return a message as a sidecar delivers it raw."""
    invented = {"id": "another each time", "type": "com.dapr.event.sent", "data": 7}
    return json.dumps({"data_base64": base64.b64encode(message).decode(), **invented}).encode()


@pytest.mark.parametrize("message", [b"", b"hello", b"\xff\x00", b'{"id": "x"}', delivery(b"inner")], ids=repr)
def test_a_raw_message_is_handled_byte_for_byte(message: bytes) -> None:
    """A raw delivery is unwrapped exactly once."""
    assert [message] == handled(delivery(message))


@pytest.mark.parametrize("body", [b"", b"hello", b"[]", b'{"data_base64": 7}', b'{"data_base64": "?"}', b"[" * 50_000])
def test_a_body_that_is_not_a_raw_delivery_is_the_message(body: bytes) -> None:
    """A body without valid `data_base64` is the message: a sidecar that parses delivers it so."""
    assert [body] == handled(body)


def test_an_event_without_a_subscription_is_redelivered() -> None:
    """An event without a subscription is answered 500; after a 404 the sidecar would drop it."""
    made = Deliveries()

    assert (False, 500) == (made.is_subscribed(PATH), asyncio.run(made.process(PATH, [], b"on")))
