"""Prefer: well-formed preferences are applied, and malformed ones are ignored."""

import time

import pytest

from sidecart.edge.preferences import Preference, preference


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], Preference(5.0, None)),
        (["wait=0"], Preference(0, "wait=0")),
        (["wait=10"], Preference(10, "wait=10")),
        (['wait="7"'], Preference(7, "wait=7")),
        (["WAIT = 3"], Preference(3, "wait=3")),
        (["wait=31"], Preference(30, "wait=30")),
        (["wait=999999999"], Preference(30, "wait=30")),
        (["respond-async"], Preference(0, "respond-async")),
        (["respond-async, wait=10"], Preference(10, "respond-async, wait=10")),
        (["wait=9, respond-async"], Preference(9, "respond-async, wait=9")),
        (["wait=9", "Respond-Async"], Preference(9, "respond-async, wait=9")),
        (["respond-async, wait=0"], Preference(0, "respond-async, wait=0")),
        (["respond-async, wait=soon"], Preference(0, "respond-async")),
        (['respond-async=""'], Preference(0, "respond-async")),
        (["respond-async=no"], Preference(5.0, None)),
        (["respond-async; wait=10"], Preference(0, "respond-async")),
        (["foo; wait=10"], Preference(5.0, None)),
        (['foo="a, wait=1", wait=3'], Preference(3, "wait=3")),
        (['foo="a\\", wait=1", wait=3'], Preference(3, "wait=3")),
        (['foo="a, wait=1'], Preference(5.0, None)),
        (["foo/bar, wait=4"], Preference(4, "wait=4")),
        (['wait="seven"'], Preference(5.0, None)),
        (["wait=, wait=4"], Preference(4, "wait=4")),
        (["wait=soon, wait=4"], Preference(5.0, None)),
        (["wait"], Preference(5.0, None)),
        (["foo, " * 100 + "wait=4"], Preference(5.0, None)),
        ([""], Preference(5.0, None)),
        (["return=minimal, wait=4; x=y"], Preference(4, "wait=4")),
        (["wait=2", "wait=9"], Preference(2, "wait=2")),
        (["wait=-1"], Preference(5.0, None)),
        (["wait=1.5"], Preference(5.0, None)),
        (["wait=abc"], Preference(5.0, None)),
        (["wait=9999999999"], Preference(30, "wait=30")),
        (["wait=٣"], Preference(5.0, None)),
        ([",,;=,"], Preference(5.0, None)),
    ],
)
def test_prefer_is_read_as_rfc_7240_says(headers: list[str], expected: Preference) -> None:
    """The wait is at most 30 s, and it also limits respond-async.

    The first preference of a name counts. A parameter is no preference.
    """
    assert expected == preference(headers)


def test_a_long_header_takes_no_time() -> None:
    """A caller may send 64 KiB of arbitrary text."""
    for text in ('"\\' * 32_000, '"' * 65_001, "wait=(" * 10_000, "," * 65_000):
        started_at = time.monotonic()
        assert Preference() == preference([text])
        assert time.monotonic() - started_at < 0.5
