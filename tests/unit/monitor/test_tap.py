"""The tap against a gRPC server that does what a sidecar does at the end: events, after it was told that it is over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from dapr.proto import api_service_v1, api_v1, appcallback_v1

from monitor.event import Event
from monitor.tap import read_all

SECONDS = 10.0


class Sidecar(api_service_v1.DaprServicer):
    """Sends an event, and when it is told to end another one; then it takes its time."""

    def __init__(self, data: bytes = b"{}") -> None:
        self.data = data
        self.reads = False

    async def SubscribeTopicEventsAlpha1(self, requests: AsyncIterator[Any], _context: Any) -> AsyncIterator[Any]:
        """One subscription."""
        await anext(requests)
        self.reads = True
        yield api_v1.SubscribeTopicEventsResponseAlpha1(
            initial_response=api_v1.SubscribeTopicEventsResponseInitialAlpha1()
        )
        yield self._event("first")
        async for _ in requests:  # its answers; it ends with the half-close
            pass
        yield self._event("late")
        await asyncio.sleep(0.3)
        self.reads = False

    def _event(self, name: str) -> Any:
        message = appcallback_v1.TopicEventRequest(id=name, topic="OrderPaid", data=self.data)
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


def test_an_event_that_cannot_be_read_does_not_break_it() -> None:
    """Nested more deeply than Python goes, and less than a sidecar does."""
    seen = asyncio.run(read_from(Sidecar(b"[" * 9_000 + b"]" * 9_000)))

    assert {} == seen[0].data
