"""Header blocks without a dynamic table."""

import pytest
from hpack import Decoder, Encoder
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecart.chassis.http2 import header_blocks
from sidecart.chassis.http2.frames import ProtocolError
from sidecart.chassis.http2.header_blocks import BlockDecoder, RequestHead, ResponseHead, request_head
from tests.unit.chassis.http2.wire import block

TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=400)


@settings(deadline=None)
@given(TEXT, TEXT)
def test_another_library_decodes_a_head(path: str, token: str) -> None:
    """Strings of any length; the head can be repeated, with any size of the server's table."""
    decoder = Decoder(100_000)
    head = request_head("127.0.0.1:50001", path, {"dapr-api-token": token})

    for _ in range(2):
        fields = {str(name): str(value) for name, value in decoder.decode(head.block)}
        assert (path, token, "POST") == (fields[":path"], fields["dapr-api-token"], fields[":method"])
        decoder.max_allowed_table_size = 0  # the server allows no table any more
    assert b"".join((len(head.block).to_bytes(3, "big"), b"\x01\x04")) == head.begin


@pytest.mark.parametrize("token", ["a\r\nx: y", "ä", "a\x00"])
def test_an_invalid_token_is_rejected(token: str) -> None:
    """As by the HTTP API."""
    with pytest.raises(ValueError, match="header"):
        request_head("a", "/", {"dapr-api-token": token})


def test_a_head_fits_into_one_frame() -> None:
    """A longer one is an error of this program."""
    with pytest.raises(ValueError, match="request head"):
        RequestHead.of(bytes(16_385))


def test_equal_blocks_are_decoded_once_and_the_number_kept_is_bounded() -> None:
    """A block of an error, which differs each time, does not stay."""
    decoder = BlockDecoder()
    first = decoder.decode(block((":status", "200"), ("content-type", "application/grpc")))

    assert ResponseHead("200", True, None, "") == first
    assert first is decoder.decode(block((":status", "200"), ("content-type", "application/grpc")))
    for number in range(1_000):
        assert str(number) == decoder.decode(block(("grpc-status", "2"), ("grpc-message", str(number)))).message
    assert len(decoder._cached) <= header_blocks.CACHED_BLOCKS_MAX
    assert all(len(each) <= header_blocks.CACHED_BYTES_MAX for each in decoder._cached)


def test_a_dynamic_table_is_an_error() -> None:
    """Equal blocks would have different meanings; an entry that is evicted at once is none."""
    encoder, decoder = Encoder(), BlockDecoder()
    adding = encoder.encode([("grpc-status", "0")])

    assert 0 == decoder.decode(adding).code
    with pytest.raises(ProtocolError):
        decoder.decode(encoder.encode([("grpc-status", "0")]))


@pytest.mark.parametrize(("status", "code"), [("0", 0), ("16", 16), ("", -1), ("x", -1), ("1234", -1), ("-1", -1)])
def test_a_code_is_a_small_number(status: str, code: int) -> None:
    """Any other text is no code."""
    assert code == BlockDecoder().decode(block(("grpc-status", status))).code
