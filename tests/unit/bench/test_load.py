"""Tests of the load generator's arithmetic."""

import asyncio
import time

import pytest

from bench.load import closed_loop, open_loop, percentile


@pytest.mark.parametrize(
    ("percent", "expected"), [(0, 1.0), (50, 50.0), (99, 99.0), (99.1, 100.0), (100, 100.0)], ids=str
)
def test_a_percentile_is_a_value_that_was_measured(percent: float, expected: float) -> None:
    """percentile() returns the nearest rank, in any order of the values."""
    assert expected == percentile([float(number) for number in range(100, 0, -1)], percent)


def test_a_closed_loop_runs_the_requested_number_of_callers_and_counts_every_response() -> None:
    """Each caller sends its next request as soon as it has a response."""
    in_progress = most = queried = 0

    async def call() -> int:
        nonlocal in_progress, most, queried
        in_progress += 1
        queried += 1
        most = max(most, in_progress)
        await asyncio.sleep(0.001)
        in_progress -= 1
        return 201 if queried % 2 else 503

    load = asyncio.run(closed_loop(call, 7, 0.05))

    assert (7, queried) == (most, load.answers)
    assert queried == load.statuses[201] + load.statuses[503]
    assert load.statuses[503] > 0
    assert load.seconds >= 0.05
    assert load.per_second == load.answers / load.seconds


def test_an_open_loop_counts_the_time_since_a_request_was_due() -> None:
    """A request that was sent late because the caller was blocked counts as late."""
    queried = 0

    async def call() -> int:
        nonlocal queried
        queried += 1
        if queried == 1:
            time.sleep(0.2)  # noqa: ASYNC251 - blocks the whole event loop, as a slow machine would
        return 201

    load = asyncio.run(open_loop(call, 100.0, 0.1))

    assert 10 == load.answers
    assert min(load.milliseconds) > 100
