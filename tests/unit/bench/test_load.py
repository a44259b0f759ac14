"""The load generator's own arithmetic."""

import asyncio
import time

import pytest

from bench.load import closed_loop, open_loop, percentile


@pytest.mark.parametrize(
    ("percent", "expected"), [(0, 1.0), (50, 50.0), (99, 99.0), (99.1, 100.0), (100, 100.0)], ids=str
)
def test_a_percentile_is_a_value_that_was_measured(percent: float, expected: float) -> None:
    """Nearest rank, whatever the order."""
    assert expected == percentile([float(number) for number in range(100, 0, -1)], percent)


def test_as_many_callers_ask_at_once_as_were_wanted_and_every_answer_counts() -> None:
    """Each asks again as soon as it was answered."""
    asking = most = queried = 0

    async def call() -> int:
        nonlocal asking, most, queried
        asking += 1
        queried += 1
        most = max(most, asking)
        await asyncio.sleep(0.001)
        asking -= 1
        return 201 if queried % 2 else 503

    load = asyncio.run(closed_loop(call, 7, 0.05))

    assert (7, queried) == (most, load.answers)
    assert queried == load.statuses[201] + load.statuses[503]
    assert load.statuses[503] > 0
    assert load.seconds >= 0.05
    assert load.per_second == load.answers / load.seconds


def test_an_open_loop_counts_the_time_since_a_request_was_due() -> None:
    """What could not be asked because the caller was held up is late too."""
    queried = 0

    async def call() -> int:
        nonlocal queried
        queried += 1
        if queried == 1:
            time.sleep(0.2)  # noqa: ASYNC251 - holds up the whole loop, as a slow machine would
        return 201

    load = asyncio.run(open_loop(call, 100.0, 0.1))

    assert 10 == load.answers
    assert min(load.milliseconds) > 100
