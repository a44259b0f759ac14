"""Values are parsed as Dapr's decoders parse them."""

from __future__ import annotations

import pytest

from sidecart.doctor.dapr_values import duration_ms, expanded, number, signed, truthy


@pytest.mark.parametrize(
    ("text", "expected"), [("true", True), (" Yes ", True), ("1", True), ("ture", False), ("", False)]
)
def test_truthy_words(text: str, expected: bool) -> None:
    """Dapr reads all other words as false and reports no error."""
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
def test_durations_follow_go(text: str, expected: float | None) -> None:
    """A bare number is milliseconds; Go has no unit for days."""
    assert expected == duration_ms(text)


@pytest.mark.parametrize(("text", "expected"), [("32", 32), ("-1", None), ("1e3", None), ("", None), ("9" * 30, None)])
def test_a_number_is_whole_and_unsigned(text: str, expected: int | None) -> None:
    """Signs, fractions and exponents give None."""
    assert expected == number(text)


@pytest.mark.parametrize(("text", "expected"), [("32", 32), ("-1", -1), ("+1", 1), ("1e3", None), ("", None)])
def test_a_signed_number_may_be_negative(text: str, expected: int | None) -> None:
    """Signs are accepted as in Go's `strconv.ParseInt`."""
    assert expected == signed(text)


def test_compose_variables_are_expanded() -> None:
    """An unset variable becomes its default, or an empty string without one."""
    text = "/components/${BROKER:-redis}/${STORE-redis}/$KIND${NONE}"

    assert "/components/redis/postgres/x" == expanded(text, {"STORE": "postgres", "KIND": "x"})
