"""Request bodies under flow control."""

from __future__ import annotations

from typing import cast

import pytest
from hyperframe.frame import DataFrame, Frame
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecart.chassis.http2.frames import WINDOW_MAX, ProtocolError
from sidecart.chassis.http2.request_bodies import RequestBodies, StreamError
from sidecart.chassis.http2.settings import DEFAULT_WINDOW, ServerSettings


def parsed(stream: bytes) -> list[DataFrame]:
    """Return frames of DATA."""
    found = []
    while stream:
        frame, length = Frame.parse_frame_header(memoryview(stream[:9]))
        frame.parse_body(memoryview(stream[9 : 9 + length]))
        found.append(cast(DataFrame, frame))
        stream = stream[9 + length :]
    return found


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("connection"), st.integers(1, 50_000), st.just(0)),
        st.tuples(st.just("stream"), st.integers(1, 30_000), st.sampled_from([1, 3, 5])),
        st.tuples(st.just("initial"), st.integers(0, 60_000), st.just(0)),
        st.tuples(st.just("drop"), st.just(0), st.sampled_from([1, 3, 5])),
    ),
    max_size=30,
)


@settings(deadline=None)
@given(st.lists(st.integers(1, 60_000), min_size=3, max_size=3), st.integers(0, 60_000), ACTIONS)
def test_no_window_is_exceeded_and_no_byte_is_lost(
    sizes: list[int], initial: int, actions: list[tuple[str, int, int]]
) -> None:
    """A model of the server's windows accepts each frame; all bodies arrive with large ones."""
    settings = ServerSettings(initial_window=initial)
    bodies = RequestBodies(settings)
    window, windows = DEFAULT_WINDOW, dict.fromkeys((1, 3, 5), initial)
    sent: dict[int, bytes] = dict.fromkeys((1, 3, 5), b"")
    wanted = {stream_id: bytes([stream_id]) * size for stream_id, size in zip((1, 3, 5), sizes, strict=True)}
    dropped: set[int] = set()

    def take(stream: bytes) -> None:
        nonlocal window
        for frame in parsed(stream):
            assert frame.stream_id not in dropped
            assert 0 < len(frame.data) <= min(window, windows[frame.stream_id], settings.frame_bytes_max)
            window -= len(frame.data)
            windows[frame.stream_id] -= len(frame.data)
            sent[frame.stream_id] += frame.data
            assert ("END_STREAM" in frame.flags) == (sent[frame.stream_id] == wanted[frame.stream_id])

    for stream_id, body in wanted.items():
        take(bodies.open(stream_id, body))
    for what, size, stream_id in [*actions, ("initial", 100_000, 0), ("connection", 1_000_000, 0)]:
        if what == "connection":
            window += size
            take(bodies.enlarge(size))
        elif what == "stream":
            windows[stream_id] += size
            take(bodies.enlarge_stream(stream_id, size))
        elif what == "initial":
            windows = {each: value + size - settings.initial_window for each, value in windows.items()}
            settings.initial_window = size
            take(bodies.settings_changed())
        else:
            dropped.add(stream_id)
            bodies.drop(stream_id)

    assert {each: body for each, body in wanted.items() if each not in dropped} == {
        each: body for each, body in sent.items() if each not in dropped
    }


def test_windows_that_overflow_are_errors() -> None:
    """Of the connection, of a stream, and by a change of the initial window."""
    settings = ServerSettings(initial_window=10)
    bodies = RequestBodies(settings)
    bodies.open(1, bytes(100_000))

    with pytest.raises(StreamError):
        bodies.enlarge_stream(1, 0)
    with pytest.raises(ProtocolError):
        bodies.enlarge(0)
    with pytest.raises(ProtocolError):
        bodies.enlarge(WINDOW_MAX)
    bodies = RequestBodies(settings)
    bodies.open(1, bytes(100_000))
    bodies.enlarge_stream(1, WINDOW_MAX - 100_000)
    settings.initial_window = WINDOW_MAX
    with pytest.raises(ProtocolError):
        bodies.settings_changed()
    assert b"" == bodies.enlarge_stream(99, 1)
