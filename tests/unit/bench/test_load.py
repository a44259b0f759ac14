"""The load generator's own arithmetic."""

import asyncio

import pytest

from bench.load import closed_loop, percentile


@pytest.mark.parametrize(
    ("percent", "expected"), [(0, 1.0), (50, 50.0), (99, 99.0), (99.1, 100.0), (100, 100.0)], ids=str
)
def test_a_percentile_is_a_value_that_was_measured(percent: float, expected: float) -> None:
    """Nearest rank, whatever the order."""
    assert expected == percentile([float(number) for number in range(100, 0, -1)], percent)


def test_as_many_callers_ask_at_once_as_were_wanted_and_every_answer_counts() -> None:
    """Each asks again as soon as it was answered."""
    asking = most = asked = 0

    async def call() -> int:
        nonlocal asking, most, asked
        asking += 1
        asked += 1
        most = max(most, asking)
        await asyncio.sleep(0.001)
        asking -= 1
        return 201 if asked % 2 else 503

    load = asyncio.run(closed_loop(call, 7, 0.05))

    assert (7, asked) == (most, load.answers)
    assert asked == load.statuses[201] + load.statuses[503]
    assert load.statuses[503] > 0
    assert load.seconds >= 0.05
    assert load.per_second == load.answers / load.seconds
