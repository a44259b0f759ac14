"""A fuzzer on the client's parser: any bytes of a server, split anywhere.

The client never raises, each call ends, and no call gets the response of another.
"""

from __future__ import annotations

import asyncio
from itertools import pairwise

from hyperframe.frame import Frame, GoAwayFrame, PingFrame, RstStreamFrame, SettingsFrame, WindowUpdateFrame
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecart.chassis.http2.call import Reply
from sidecart.chassis.http2.errors import BrokenOff, NotProcessed
from tests.unit.chassis.http2.wire import OK, Client, data, encoded, headers, message, response

CALLS = 3
EXAMPLES = 400


def content(stream_id: int) -> bytes:
    """Return the message of the response to one call."""
    return b"response to %d " % stream_id * stream_id


def valid() -> list[Frame]:
    """Return the frames of all responses, and some others."""
    return [
        SettingsFrame(0, {4: 100_000}),
        *(frame for number in range(CALLS) for frame in response(2 * number + 1, content(2 * number + 1))),
        PingFrame(0, b"12345678"),
        WindowUpdateFrame(0, 1_000),
    ]


def play(parts: list[bytes]) -> list[Reply | BaseException]:
    """Hand the parts to a client, and return the result of each call."""

    async def run() -> list[Reply | BaseException]:
        client = Client(CALLS)
        for part in parts:
            client.connection.data_received(part)
            if len(parts) < 50:
                await asyncio.sleep(0)
        return await client.end()

    return asyncio.run(run())


def split(stream: bytes, cuts: list[int]) -> list[bytes]:
    """Split a stream at these positions."""
    at = sorted({0, *(cut % (len(stream) + 1) for cut in cuts), len(stream)})
    return [stream[start:end] for start, end in pairwise(at)]


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(st.integers(0, 10_000), max_size=40))
def test_a_valid_stream_may_be_split_anywhere(cuts: list[int]) -> None:
    """Each call gets its own response."""
    expected = [Reply(0, "", content(2 * number + 1)) for number in range(CALLS)]

    assert expected == play(split(encoded(*valid()), cuts))


FRAMES = st.one_of(
    st.builds(lambda n: headers(2 * n + 1), st.integers(0, CALLS - 1)),
    st.builds(lambda n: headers(2 * n + 1, OK, "END_STREAM"), st.integers(0, CALLS - 1)),
    st.builds(lambda n: data(2 * n + 1, message(content(2 * n + 1))), st.integers(0, CALLS - 1)),
    st.builds(
        lambda n, at: data(2 * n + 1, message(content(2 * n + 1))[:at]), st.integers(0, CALLS - 1), st.integers(0, 40)
    ),
    st.builds(
        lambda n, at: data(2 * n + 1, message(content(2 * n + 1))[at:]), st.integers(0, CALLS - 1), st.integers(0, 40)
    ),
    st.builds(lambda n, code: RstStreamFrame(2 * n + 1, code), st.integers(0, CALLS - 1), st.sampled_from([0, 2, 7])),
    st.builds(lambda n: GoAwayFrame(0, last_stream_id=n), st.integers(0, 2 * CALLS)),
    st.builds(lambda n, size: WindowUpdateFrame(n, size), st.integers(0, 2 * CALLS), st.integers(1, 2**31 - 1)),
    st.builds(lambda size: SettingsFrame(0, {4: size}), st.integers(0, 2**31 - 1)),
    st.just(PingFrame(0, bytes(8))),
)


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(FRAMES, max_size=25), st.lists(st.integers(0, 10_000), max_size=5))
def test_frames_in_any_order_give_no_call_the_response_of_another(frames: list[Frame], cuts: list[int]) -> None:
    """Frames are left out, repeated and mixed: a call gets its own whole response, or an error."""
    for number, result in enumerate(play(split(encoded(*frames), cuts))):
        assert isinstance(result, (BrokenOff, NotProcessed)) or Reply(0, "", content(2 * number + 1)) == result


CHANGES = st.lists(
    st.tuples(st.sampled_from(["flip", "drop", "insert", "repeat"]), st.integers(0, 10_000), st.binary(max_size=12)),
    min_size=1,
    max_size=6,
)


@settings(max_examples=2 * EXAMPLES, deadline=None)
@given(CHANGES, st.lists(st.integers(0, 10_000), max_size=8))
def test_damaged_bytes_end_every_call(changes: list[tuple[str, int, bytes]], cuts: list[int]) -> None:
    """Bytes are changed, removed, inserted, repeated: no call hangs or raises another error."""
    stream = encoded(*valid())
    for how, position, some in changes:
        at = position % len(stream)
        middle = {
            "flip": bytes(b ^ 0xFF for b in some),
            "drop": b"",
            "insert": some,
            "repeat": stream[at : at + 30] * 2,
        }
        kept = at if how == "insert" else at + max(1, len(some))
        stream = stream[:at] + middle[how] + stream[kept:] or b"\x00"

    for result in play(split(stream, cuts)):
        assert isinstance(result, (Reply, BrokenOff, NotProcessed))


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 9), st.integers(0, 255), st.integers(0, 8))
def test_any_payload_of_any_frame_ends_every_call(payload: bytes, kind: int, flags: int, stream_id: int) -> None:
    """A frame with a valid length and any other bytes, before valid responses."""
    frame = len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream_id.to_bytes(4, "big") + payload

    for result in play([frame, encoded(*valid())]):
        assert isinstance(result, (Reply, BrokenOff, NotProcessed))
