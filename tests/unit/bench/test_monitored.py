"""Tests of the monitor's cost: a verdict requires rounds that agree."""

from __future__ import annotations

import pytest

from bench.load import Load
from bench.measure import Level
from bench.monitored import NAMES, TURNS, Monitored, MonitoredRound, table, verdict


def levels(*completed: float) -> list[Level]:
    """Return turns with these orders a second, each order 0.5 ms of each monitor process."""
    return [Level(Load(), each, dict.fromkeys(NAMES, 0.5)) for each in completed]


def found(*completed: float) -> Monitored:
    """Return rounds with these orders a second with the monitor; without it, 90 and 110."""
    rounds = [MonitoredRound(levels(90, 110), levels(each - 5, each + 5)) for each in completed]
    return Monitored(rounds, dict.fromkeys(NAMES, 93.4))


@pytest.mark.parametrize(
    ("completed", "output"),
    [
        ((98, 99, 103), "0.990 x  (must >= 0.97: limit met; the rounds: 0.980, 0.990, 1.030)"),
        ((95, 96, 97), "0.960 x  (must >= 0.97: MISSED;"),
        ((66, 113, 160), "1.130 x  (must >= 0.97: INCONCLUSIVE"),
    ],
)
def test_the_median_is_judged_if_the_rounds_agree(completed: tuple[float, ...], output: str) -> None:
    """Rounds that differ too much, as on a busy machine, give no verdict."""
    assert output in verdict("redis", found(*completed))


def test_the_table_has_each_round_and_what_the_monitor_takes() -> None:
    """The table has a row per round with both rates and their ratio, and CPU and memory of both
    processes.
    """
    lines = table("redis", found(90, 110)).splitlines()

    assert [
        "| round 1: completed orders/s | 100 | 90 | 0.900 |",
        "| round 2: completed orders/s | 100 | 110 | 1.100 |",
        "| median of the rounds | | | 1.000 |",
        "| all turns together | 100.0 | 100.0 | 1.000 |",
    ] == lines[2:6]
    assert "| monitor: CPU, ms per completed order | | 0.500 | |" in lines
    assert "| monitor-sidecar: resident memory, MiB | | 93 | |" in lines


def test_a_machine_that_slows_down_affects_both_kinds_of_turns() -> None:
    """Both kinds of turns have the same mean position, so a steady change cancels out."""
    with_it, without_monitor = (
        [place for place, each in enumerate(TURNS) if each is monitored] for monitored in (True, False)
    )

    assert len(with_it) == len(without_monitor)
    assert sum(with_it) == sum(without_monitor)
