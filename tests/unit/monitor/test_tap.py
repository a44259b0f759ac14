"""The tap against a gRPC server that, like a sidecar, sends events until it ends the stream."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import grpc
from dapr.proto import api_service_v1, api_v1, appcallback_v1

from sidecart.monitor.event import Event
from sidecart.monitor.tap import read_all

SECONDS = 10.0


class Sidecar(api_service_v1.DaprServicer):
    """Sends an event, another one after the half-close, and ends the stream after a delay."""

    def __init__(self, *before: bytes) -> None:
        self.before = before
        self.reads = False
        self.first_request: Any = None

    async def SubscribeTopicEventsAlpha1(self, requests: AsyncIterator[Any], _context: Any) -> AsyncIterator[Any]:
        """One subscription."""
        self.first_request = await anext(requests)
        self.reads = True
        yield api_v1.SubscribeTopicEventsResponseAlpha1(
            initial_response=api_v1.SubscribeTopicEventsResponseInitialAlpha1()
        )
        for each in self.before:
            yield _message(each)
        yield _event("first")
        async for _ in requests:  # acknowledgments, until the half-close
            pass
        yield _event("late")
        await asyncio.sleep(0.3)
        self.reads = False


def _event(name: str) -> Any:
    return _message(json.dumps({"id": name, "time": 7, "data": []}).encode())


def _message(data: bytes) -> Any:
    """A raw message as a sidecar sends it: the sidecar generates the id and the type."""
    message = appcallback_v1.TopicEventRequest(id="made up", topic="OrderPaid", type="made up too", data=data)
    return api_v1.SubscribeTopicEventsResponseAlpha1(event_message=message)


async def read_from(sidecar: Sidecar) -> list[Event]:
    """Read until the first event, then cancel; return all events seen."""
    server = grpc.aio.server()
    api_service_v1.add_DaprServicer_to_server(sidecar, server)  # type: ignore[no-untyped-call]  # generated
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    seen: list[Event] = []
    received = asyncio.Event()

    def take(event: Event) -> None:
        seen.append(event)
        received.set()

    reading = asyncio.create_task(read_all(port, "token", ["OrderPaid"], take, lambda: None))
    async with asyncio.timeout(SECONDS):
        await received.wait()
        reading.cancel()
        await asyncio.wait([reading])
    await server.stop(0)
    return seen


def test_the_tap_ends_only_after_the_sidecar_has_unsubscribed() -> None:
    """If the tap returned earlier, the sidecar would recreate the removed consumer groups."""
    sidecar = Sidecar()

    assert ["first", "late"] == [event.id for event in asyncio.run(read_from(sidecar))]
    assert not sidecar.reads


def test_an_unparseable_message_is_skipped() -> None:
    """The subscription is raw, so that such a message does not break the stream."""
    unparseable = (b"", b"hello", b"\xff", b"[]", b"null", b'{"cut": ', b"[" * 9_000 + b"]" * 9_000)
    sidecar = Sidecar(*unparseable)

    assert ["first", "late"] == [event.id for event in asyncio.run(read_from(sidecar))]
    assert {"rawPayload": "true"} == dict(sidecar.first_request.initial_request.metadata)


def test_missing_attributes_are_empty() -> None:
    """A publisher may send any content."""
    seen = asyncio.run(read_from(Sidecar()))

    assert ("OrderPaid", "", "", "", {}) == (
        seen[0].topic,
        seen[0].subject,
        seen[0].correlation_id,
        seen[0].time,
        seen[0].data,
    )
