"""The tap: Dapr's streaming subscriptions, which open and close while their sidecar runs.

It uses the generated stub instead of the SDK's client. That client blocks on a health check when
it is created, and it cancels a stream instead of closing it (ADR 30).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import grpc
import msgspec
from dapr.proto import api_service_v1, api_v1, appcallback_v1

from sidecart.chassis.server.inbound import RAW
from sidecart.chassis.settings import LOOPBACK
from sidecart.launcher.topics import INBOX
from sidecart.monitor.event import Event

OPEN_SECONDS = 70.0
"""A sidecar waits up to a minute for its broker before it rejects a subscription."""
CLOSE_SECONDS = 15.0
"""A sidecar ends subscriptions one after the other, each within half a second."""
ATTRIBUTE_CHARACTERS_MAX = 200  # of ids and times; publishers may send any length


Take = Callable[[Event], None]


class TapError(Exception):
    """The tap failed to open, or it ended; the message says why."""


async def read_all(
    port: int, token: str, topics: Sequence[str], take: Take, opened: Callable[[], None], host: str = LOOPBACK
) -> None:
    """Read all topics through the sidecar at this gRPC port until cancelled.

    Raises TapError if a subscription fails or ends. On return, a running sidecar no longer reads
    any of the topics.
    """
    # With a size limit, a large message would end the stream, be redelivered, and end the next one.
    options = [("grpc.max_receive_message_length", -1)]
    async with grpc.aio.insecure_channel(f"{host}:{port}", options=options) as channel:
        stub = api_service_v1.DaprStub(channel)  # type: ignore[no-untyped-call]  # generated without types
        streams: list[_Stream] = []
        try:
            for topic in topics:
                streams.append(_Stream(stub, token, topic, take))
                await streams[-1].open()
            opened()
            readings = [each.reading() for each in streams]
            ended, _ = await asyncio.wait(readings, return_when=asyncio.FIRST_COMPLETED)
            raise TapError("the sidecar ended a subscription") from next(iter(ended)).exception()
        except grpc.aio.AioRpcError as error:
            raise TapError(f"the sidecar does not subscribe: {error.details()}") from error
        except TimeoutError as error:
            raise TapError(f"the sidecar does not subscribe within {OPEN_SECONDS:.0f} s") from error
        finally:
            await asyncio.shield(asyncio.gather(*(each.close() for each in streams)))


class _Stream:
    """The subscription to one topic."""

    def __init__(self, stub: Any, token: str, topic: str, take: Take) -> None:
        self._topic = topic
        self._take = take
        self._call = stub.SubscribeTopicEventsAlpha1(metadata=(("dapr-api-token", token),))
        self._reading: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Subscribe, and wait for the sidecar's confirmation."""
        first = api_v1.SubscribeTopicEventsRequestInitialAlpha1(pubsub_name=INBOX, topic=self._topic, metadata=RAW)
        async with asyncio.timeout(OPEN_SECONDS):
            await self._call.write(api_v1.SubscribeTopicEventsRequestAlpha1(initial_request=first))
            if await self._call.read() is grpc.aio.EOF:
                raise TapError(f"the sidecar does not subscribe to {self._topic}: {await self._call.details()}")
        self._reading = asyncio.create_task(self._read())

    def reading(self) -> asyncio.Task[None]:
        """The task that ends with the stream."""
        assert self._reading is not None, "it is open"
        return self._reading

    async def _read(self) -> None:
        with suppress(grpc.aio.AioRpcError):  # `read_all` reports the end of the stream
            while (message := await self._call.read()) is not grpc.aio.EOF:
                event = message.event_message
                read = _event(self._topic, event.data)
                if read is not None:
                    self._take(read)
                # Events that arrive during closing cannot be acknowledged. Read on until the
                # sidecar ends the stream, because it reads from the broker until then.
                with suppress(asyncio.InvalidStateError):
                    await self._call.write(_acknowledgment(event.id))

    async def close(self) -> None:
        """Close the sending side, and wait until the sidecar has unsubscribed.

        Cancelling the stream instead would leave events unacknowledged and hide when it has ended.
        """
        if self._reading is not None:
            with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError, TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._call.done_writing()
                    await asyncio.wait([self._reading])
            self._reading.cancel()
        self._call.cancel()


def _event(topic: str, message: bytes) -> Event | None:
    """Parse a message; None if it is no event, which services store as a dead letter."""
    try:
        read = msgspec.json.decode(message)
    except (ValueError, RecursionError):
        return None
    if not isinstance(read, dict):
        return None
    data = read.get("data")

    def attribute(name: str) -> str:
        value = read.get(name)
        return value[:ATTRIBUTE_CHARACTERS_MAX] if isinstance(value, str) else ""

    return Event(
        topic,
        attribute("id"),
        attribute("subject"),
        attribute("correlationid"),
        attribute("time"),
        data if isinstance(data, dict) else {},
    )


def _acknowledgment(event_id: str) -> Any:
    status = appcallback_v1.TopicEventResponse(status=appcallback_v1.TopicEventResponse.SUCCESS)
    done = api_v1.SubscribeTopicEventsRequestProcessedAlpha1(id=event_id, status=status)
    return api_v1.SubscribeTopicEventsRequestAlpha1(event_processed=done)
