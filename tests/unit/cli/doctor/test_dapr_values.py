"""Values as Dapr's decoders read them."""

from __future__ import annotations

import pytest

from cli.doctor.dapr_values import duration_ms, expanded, number, signed, truthy


@pytest.mark.parametrize(
    ("text", "expected"), [("true", True), (" Yes ", True), ("1", True), ("ture", False), ("", False)]
)
def test_what_counts_as_true(text: str, expected: bool) -> None:
    """All else is false, without a word."""
    assert expected == truthy(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20000", 20_000.0),
        ("20s", 20_000.0),
        ("1h30m", 5_400_000.0),
        ("1.5s", 1_500.0),
        ("-1", -1.0),
        ("0s", 0.0),
        ("30d", None),
        ("20 s", None),
        ("s", None),
        ("", None),
        ("20x5s", None),
    ],
)
def test_a_duration_is_gos(text: str, expected: float | None) -> None:
    """Bare numbers are milliseconds; there are no days."""
    assert expected == duration_ms(text)


@pytest.mark.parametrize(("text", "expected"), [("32", 32), ("-1", None), ("1e3", None), ("", None), ("9" * 30, None)])
def test_a_number_is_whole(text: str, expected: int | None) -> None:
    """And not below nothing."""
    assert expected == number(text)


@pytest.mark.parametrize(("text", "expected"), [("32", 32), ("-1", -1), ("+1", 1), ("1e3", None), ("", None)])
def test_a_signed_number_may_be_below_nothing(text: str, expected: int | None) -> None:
    """As Go's `strconv.ParseInt`."""
    assert expected == signed(text)


def test_variables_of_a_compose_file_are_put_in() -> None:
    """With their defaults; what is not set and has none is empty."""
    text = "/components/${BROKER:-redis}/${STORE-redis}/$KIND${NONE}"

    assert "/components/redis/postgres/x" == expanded(text, {"STORE": "postgres", "KIND": "x"})
