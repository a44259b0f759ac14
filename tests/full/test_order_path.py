"""The number of modules that a reader of one order must open, and their lines."""

import pytest

from tests.full.order_path import lines, measure

MAXIMA = {"201": (35, 5_030), "email": (44, 6_200)}
"""Until the 201 and until the email: modules and their physical lines.

Before the toolkit was separated from the shop, they were 34 with 4,427 and 41 with 5,776. The goal
was 65 % of the modules and 70 % of the lines: 22 with 3,098, and 26 with 4,043. The currency of the
emails added 8 lines until the email. The time limits of a request and the gate before the check of
Host and Origin added 55. Tokens, their limits, the secret of the keys, the price list and the pace
of the emails added four modules until the 201, and one more until the email. Replies with an
address and one timer for all deadlines added three until the 201, the two APIs of the sidecar one,
and the choice of a component to publish one. The look for an erased user before an old email added
the loop of `store.py` and one more module until the email. The client of the gRPC API, which is the
default, added eight modules.
"""


@pytest.fixture(scope="module")
def path() -> dict[str, set[str]]:
    """Trace several orders once."""
    return measure(print)


@pytest.mark.parametrize("until", MAXIMA)
def test_the_path_of_an_order_does_not_grow(path: dict[str, set[str]], until: str) -> None:
    """Code that an ordinary order does not need lies in modules of its own."""
    files = path[until]

    assert "gateway/commands.py" in files, "the tracer finds the first module of the path"
    assert (len(files), lines(files)) <= MAXIMA[until], sorted(files)
    assert lines(files) <= MAXIMA[until][1], sorted(files)
