"""Idempotency-Key without quotes, as most callers send it, or in quotes as in the IETF draft."""

import re

import pytest

from sidecart.edge.idempotency import PATTERN, IdempotencyKey, idempotency_key
from sidecart.edge.problems import Problem


@pytest.mark.parametrize(
    ("sent", "key"),
    [
        ("abc", "abc"),
        ("x" * 255, "x" * 255),
        ('a"b', 'a"b'),
        ('"abc"', "abc"),
        ('"a\\"b\\\\"', 'a"b\\'),
        ('"abc";n=1', "abc"),
    ],
)
def test_a_quoted_key_is_the_key_without_its_quotes(sent: str, key: str) -> None:
    """`sent` is the header value as received."""
    assert IdempotencyKey(key, sent) == idempotency_key([sent])
    assert re.match(PATTERN, sent) or ";" in sent


@pytest.mark.parametrize("sent", [("a", "a"), ("",), ("x" * 256,), ("a b",), ('"abc',), ('""',), ('"a"b"',), ('"ü"',)])
def test_a_malformed_key_is_refused(sent: tuple[str, ...]) -> None:
    """If the gateway ignored the key, a repetition would create a second resource."""
    with pytest.raises(Problem) as refused:
        idempotency_key(sent)

    assert (400, "bad_idempotency_key") == (refused.value.status, refused.value.kind)
    assert len(sent) > 1 or not re.match(PATTERN, sent[0])
