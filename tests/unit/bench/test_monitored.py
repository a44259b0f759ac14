"""What the monitor costs: a verdict only where the rounds agree."""

from __future__ import annotations

import pytest

from bench.load import Load
from bench.measure import HELD, Level, Turn
from bench.monitored import NAMES, table, verdict
from bench.tried import Tried


def turn(completed: float) -> Turn:
    """One in which so many orders a second were completed."""
    return Turn(levels={HELD: Level(Load(), completed, dict.fromkeys(NAMES, 0.5))})


def found(*completed: float) -> Tried:
    """Rounds of so many with a monitor; without it were a hundred each."""
    return Tried("one", [turn(100.0) for _ in completed], [turn(each) for each in completed])


@pytest.mark.parametrize(
    ("completed", "said"),
    [
        ((98, 99, 103), "0.990 x  (must >= 0.97: within what it must be; the rounds: 0.980, 0.990, 1.030)"),
        ((95, 96, 97), "0.960 x  (must >= 0.97: MISSED;"),
        ((66, 113, 160), "1.130 x  (must >= 0.97: NOTHING IS SAID"),
    ],
)
def test_the_median_is_judged_if_the_rounds_agree(completed: tuple[float, ...], said: str) -> None:
    """On a busy machine the ratio is of something else."""
    assert said in verdict("redis", found(*completed))


def test_the_table_has_each_round_and_what_the_monitor_takes() -> None:
    """Without it, with it, the ratio; CPU and memory of both processes."""
    lines = table("redis", found(90, 110), dict.fromkeys(NAMES, 93.4)).splitlines()

    assert [
        "| round 1: completed orders/s | 100 | 90 | 0.900 |",
        "| round 2: completed orders/s | 100 | 110 | 1.100 |",
    ] == lines[2:4]
    assert "| monitor: CPU, ms per completed order | | 0.500 | |" in lines
    assert "| monitor-sidecar: resident memory, MiB | | 93 | |" in lines
