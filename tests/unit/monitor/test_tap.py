"""The tap against a gRPC server that does what a sidecar does at the end: events, after it was told that it is over."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import grpc
from dapr.proto import api_service_v1, api_v1, appcallback_v1

from monitor.event import Event
from monitor.tap import read_all

SECONDS = 10.0


class Sidecar(api_service_v1.DaprServicer):
    """Sends an event, and when it is told to end another one; then it takes its time."""

    def __init__(self, *before: bytes) -> None:
        self.before = before
        self.reads = False
        self.asked: Any = None

    async def SubscribeTopicEventsAlpha1(self, requests: AsyncIterator[Any], _context: Any) -> AsyncIterator[Any]:
        """One subscription."""
        self.asked = await anext(requests)
        self.reads = True
        yield api_v1.SubscribeTopicEventsResponseAlpha1(
            initial_response=api_v1.SubscribeTopicEventsResponseInitialAlpha1()
        )
        for each in self.before:
            yield _message(each)
        yield _event("first")
        async for _ in requests:  # its answers; it ends with the half-close
            pass
        yield _event("late")
        await asyncio.sleep(0.3)
        self.reads = False


def _event(name: str) -> Any:
    return _message(json.dumps({"id": name, "time": 7, "data": []}).encode())


def _message(data: bytes) -> Any:
    """What a sidecar makes of a message that it does not look into: the id and the type are its own."""
    message = appcallback_v1.TopicEventRequest(id="made up", topic="OrderPaid", type="made up too", data=data)
    return api_v1.SubscribeTopicEventsResponseAlpha1(event_message=message)


async def read_from(sidecar: Sidecar) -> list[Event]:
    """Read until the first event, and end; what was seen then."""
    server = grpc.aio.server()
    api_service_v1.add_DaprServicer_to_server(sidecar, server)  # type: ignore[no-untyped-call]  # generated
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    seen: list[Event] = []
    came = asyncio.Event()

    def take(event: Event) -> None:
        seen.append(event)
        came.set()

    reading = asyncio.create_task(read_all(port, "token", ["OrderPaid"], take, lambda: None))
    async with asyncio.timeout(SECONDS):
        await came.wait()
        reading.cancel()
        await asyncio.wait([reading])
    await server.stop(0)
    return seen


def test_when_it_ends_the_sidecar_reads_no_more() -> None:
    """An event that came late is no reason to leave before that: what is forgotten meanwhile would be made anew."""
    sidecar = Sidecar()

    assert ["first", "late"] == [event.id for event in asyncio.run(read_from(sidecar))]
    assert not sidecar.reads


def test_a_message_that_is_no_event_is_passed_over() -> None:
    """The sidecar is told to bring all there is, and what cannot be read breaks nothing."""
    unparseable = (b"", b"hello", b"\xff", b"[]", b"null", b'{"cut": ', b"[" * 9_000 + b"]" * 9_000)
    sidecar = Sidecar(*unparseable)

    assert ["first", "late"] == [event.id for event in asyncio.run(read_from(sidecar))]
    assert {"rawPayload": "true"} == dict(sidecar.asked.initial_request.metadata)


def test_what_an_event_lacks_is_empty() -> None:
    """A publisher may send anything."""
    seen = asyncio.run(read_from(Sidecar()))

    assert ("OrderPaid", "", "", "", {}) == (
        seen[0].topic,
        seen[0].subject,
        seen[0].correlation_id,
        seen[0].time,
        seen[0].data,
    )
