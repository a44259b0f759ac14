"""What an event says in a few words, whatever is in it."""

from __future__ import annotations

import pytest

from monitor.event_summary import cents


@pytest.mark.parametrize(("value", "output"), [(123456, "1,234.56"), (-5, "-0.05"), ("5", "?"), (None, "?")])
def test_an_amount_is_written_as_people_write_it(value: object, output: str) -> None:
    """What is none is a question mark."""
    assert output == cents(value)


def test_a_number_that_no_account_holds_is_none() -> None:
    """It could not be divided, and the tap would break off by it again and again."""
    assert "?" == cents(10**400)
