"""Summaries of events, for any content."""

from __future__ import annotations

import pytest

from sidecart.monitor.event_summary import cents


@pytest.mark.parametrize(("value", "output"), [(123456, "1,234.56"), (-5, "-0.05"), ("5", "?"), (None, "?")])
def test_an_amount_has_two_decimals(value: object, output: str) -> None:
    """A value that is not an integer becomes a question mark."""
    assert output == cents(value)


def test_a_huge_number_is_no_amount() -> None:
    """Its division would fail and end the tap at every delivery."""
    assert "?" == cents(10**400)
