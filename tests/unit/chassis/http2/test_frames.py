"""Frames as bytes."""

import pytest
from hyperframe.frame import DataFrame, Frame, GoAwayFrame, RstStreamFrame, WindowUpdateFrame

from sidecart.chassis.http2 import frames
from sidecart.chassis.http2.frames import FrameReader, ProtocolError


@pytest.mark.parametrize(
    ("expected", "encoded"),
    [
        (RstStreamFrame(3, 8), frames.rst_stream(3, 8)),
        (WindowUpdateFrame(5, 70_000), frames.window_update(5, 70_000)),
        (GoAwayFrame(0, 0, 2), frames.goaway(2)),
        (DataFrame(2**31 - 1, b"x" * 300, flags=["END_STREAM"]), frames.encoded(0, 1, 2**31 - 1, b"x" * 300)),
    ],
)
def test_frames_are_those_of_another_library(expected: Frame, encoded: bytes) -> None:
    """The bytes are equal."""
    assert expected.serialize() == encoded


def test_frames_arrive_in_any_parts() -> None:
    """A reader keeps an incomplete frame; the reserved bit of a stream's number is ignored."""
    reader = FrameReader()
    stream = frames.encoded(0, 1, 5, b"abc") + b"\x00\x00\x00\x06\x00\x80\x00\x00\x07"

    found = [frame for byte in stream for frame in reader.feed(bytes([byte]))]

    assert [(0, 1, 5, b"abc"), (6, 0, 7, b"")] == found
    assert found == FrameReader().feed(stream)


def test_an_oversized_frame_is_rejected_by_its_head() -> None:
    """The reader does not collect the payload."""
    assert [] == FrameReader().feed((16_384).to_bytes(3, "big") + bytes(6))
    with pytest.raises(ProtocolError, match="16385"):
        FrameReader().feed((16_385).to_bytes(3, "big") + bytes(6))


@pytest.mark.parametrize(
    ("kind", "flags", "payload", "expected"),
    [
        (0, 0, b"abc", b"abc"),
        (0, 8, b"\x02abc\x00\x00", b"abc"),
        (0, 8, b"\x02\x00\x00", b""),
        (0, 0x20, b"123456", b"123456"),  # DATA has no priority
        (1, 0x20, b"12345abc", b"abc"),
        (1, 0x28, b"\x0112345abc\x00", b"abc"),
    ],
)
def test_padding_and_priority_are_removed(kind: int, flags: int, payload: bytes, expected: bytes) -> None:
    """The content of DATA and HEADERS remains."""
    assert expected == frames.content(kind, flags, payload)
