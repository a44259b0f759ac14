"""Prefer: what is well-formed is applied, what is not is ignored."""

import pytest

from gateway.preferences import Preference, preference


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
        (["wait=9, respond-async"], Preference(0, "respond-async")),
        (["return=minimal, wait=4; x=y"], Preference(4, "wait=4")),
        (["wait=2", "wait=9"], Preference(2, "wait=2")),
        (["wait=-1"], Preference(5.0, None)),
        (["wait=1.5"], Preference(5.0, None)),
        (["wait=abc"], Preference(5.0, None)),
        (["wait=9999999999"], Preference(5.0, None)),
        (["wait=٣"], Preference(5.0, None)),
        ([",,;=,"], Preference(5.0, None)),
    ],
)
def test_prefer_is_read_as_rfc_7240_says(headers: list[str], expected: Preference) -> None:
    """The wait is capped at 30 s, respond-async wins, the first wait counts."""
    assert expected == preference(headers)
