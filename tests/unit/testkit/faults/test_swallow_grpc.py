"""Tests of publishes swallowed between an app and its sidecar over gRPC."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from sidecart.chassis import grpc_requests
from sidecart.chassis.grpc_api import METHOD, GrpcApi
from sidecart.chassis.http2.frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PING,
    RST_STREAM,
    FrameReader,
    encoded,
    number,
    rst_stream,
)
from sidecart.chassis.http2.header_blocks import request_head
from sidecart.chassis.http2.settings import PREFACE
from sidecart.chassis.sidecar_api import PUBSUB
from sidecart.testkit.faults.network import Network
from sidecart.testkit.faults.swallow import Swallowed
from sidecart.testkit.faults.swallow_grpc import GrpcSwallower
from tests.unit.chassis.daprd import Daprd, daprd

EVENT = b'{"id":"e-1"}'
LARGE = b'"%s"' % (b"x" * 1_000_000)
"""Larger than the windows of the connection and of a stream."""
SECONDS = 10.0


@pytest.fixture
def swallow_all(tmp_path: Path) -> Iterator[Swallowed]:
    """Swallow every publish."""
    with closing(Swallowed(1, 1.0, tmp_path / "swallowed.jsonl")) as swallowed:
        yield swallowed


@asynccontextmanager
async def linked(swallowed: Swallowed) -> AsyncIterator[tuple[GrpcApi, Daprd]]:
    """Run a fake daprd and a client that reaches it through a link."""
    async with daprd() as fake:
        network = Network(1)
        link = network.link("order-sidecar-grpc", fake.grpc_port)
        link.swallower_of = lambda: GrpcSwallower(swallowed)
        api = GrpcApi("127.0.0.1", link.port, fake.port, "secret")
        try:
            yield api, fake
        finally:
            api.close()
            await asyncio.to_thread(network.close)


def test_a_swallowed_publish_is_answered_and_does_not_reach_the_sidecar(swallow_all: Swallowed, tmp_path: Path) -> None:
    """The calls around it do; the record has its topic and its event, of any size."""

    async def publish_and_save() -> list[str]:
        async with linked(swallow_all) as (api, fake):
            for event in (EVENT, LARGE, EVENT):
                assert 204 == (await api.publish(PUBSUB, "OrderPaid", event, SECONDS, "")).status
                assert 204 == (await api.put(f"k-{len(fake.state)}", b"1", None, None)).status
            return [call.path for call in fake.calls]

    assert ["/v1.0/state/statestore"] * 3 == asyncio.run(publish_and_save())
    assert {"OrderPaid": 3} == swallow_all.by_topic
    lines = [json.loads(line)["event"] for line in (tmp_path / "swallowed.jsonl").read_text().splitlines()]
    assert [EVENT.decode(), LARGE.decode(), EVENT.decode()] == lines


def test_each_publish_is_either_swallowed_or_reaches_the_sidecar(tmp_path: Path) -> None:
    """Many at once, on one connection; its window stays open."""
    event = b'"%s"' % (b"x" * 9_000)

    async def publish_many(half: Swallowed) -> tuple[set[int], set[str]]:
        async with linked(half) as (api, fake):
            answers = await asyncio.gather(
                *(api.publish(PUBSUB, f"T{each}", event, SECONDS, "") for each in range(200))
            )
            return {answer.status for answer in answers}, {call.path.rpartition("/")[2] for call in fake.calls}

    with closing(Swallowed(1, 0.5, tmp_path / "swallowed")) as half:
        statuses, reached = asyncio.run(publish_many(half))

    assert {204} == statuses
    assert 50 < len(reached) < 150
    assert {f"T{each}" for each in range(200)} == reached | half.by_topic.keys()
    assert not reached & half.by_topic.keys()


def call(stream_id: int, method: str, message: bytes) -> bytes:
    """Return the frames of a call in the client's form."""
    head = request_head("127.0.0.1:50001", f"{METHOD}{method}", {"dapr-api-token": "secret"})
    body = b"\x00" + len(message).to_bytes(4, "big") + message
    return encoded(HEADERS, END_HEADERS, stream_id, head.block) + encoded(DATA, END_STREAM, stream_id, body)


LOAD = call(1, "GetState", grpc_requests.get("key"))
PUBLISH = call(3, "PublishEvent", grpc_requests.publish(PUBSUB, "UserCreated", EVENT))
SAVE = call(5, "SaveState", grpc_requests.save("key", b"1", None, None))


def test_frames_may_be_split_anywhere(swallow_all: Swallowed) -> None:
    """Splitting the stream into bytes changes neither what passes nor the answers."""
    whole, swallower = GrpcSwallower(swallow_all).from_app(PREFACE + LOAD + PUBLISH + SAVE), GrpcSwallower(swallow_all)
    passed = answers = b""
    for byte in PREFACE + LOAD + PUBLISH + SAVE:
        more_passed, more_answers = swallower.from_app(bytes([byte]))
        passed, answers = passed + more_passed, answers + more_answers

    assert (PREFACE + LOAD + SAVE, answers) == (passed, whole[1]) == (whole[0], answers)
    frames = FrameReader().feed(answers)
    assert [0, 3, 3, 3] == [stream_id for _, _, stream_id, _ in frames]
    (_, (_, _, _, body)), (kind, _, _, payload) = FrameReader().feed(PUBLISH), frames[0]
    assert len(body) == number(kind, payload)


def test_a_late_publish_is_forgotten(swallow_all: Swallowed) -> None:
    """The client resets the stream before the end of its body; later frames of others pass."""
    head, body = FrameReader().feed(PUBLISH)
    start = encoded(*head) + encoded(DATA, 0, 3, body[3][:5])
    passed, _ = GrpcSwallower(swallow_all).from_app(PREFACE + start + rst_stream(3, 8) + SAVE)

    assert PREFACE + SAVE == passed
    assert {} == swallow_all.by_topic
    assert RST_STREAM not in [kind for kind, *_ in FrameReader().feed(passed[len(PREFACE) :])]


def test_an_answer_stands_between_whole_frames_of_the_sidecar(swallow_all: Swallowed) -> None:
    """No frame passes before it is complete, and no header block before its last frame."""
    block = encoded(HEADERS, 0, 1, b"a" * 40) + encoded(CONTINUATION, END_HEADERS, 1, b"b" * 40)
    ping = encoded(PING, 0, 0, bytes(8))
    swallower = GrpcSwallower(swallow_all)
    parts = [swallower.from_sidecar(bytes([byte])) for byte in ping + block + ping]

    assert [ping, block, ping] == [part for part in parts if part]
