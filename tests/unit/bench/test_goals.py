"""Tests of the goals: each is the median of the rounds, next to its noise."""

from bench.goals import GOALS, GOALS_OF_BODIES, goals
from tests.unit.bench.test_report import result


def test_each_goal_has_a_row_on_each_broker() -> None:
    """The median of the rounds is judged; two equal shops show its noise."""
    lines = goals([result(), result("rabbitmq")]).splitlines()[2:]

    assert 2 * len(GOALS + GOALS_OF_BODIES) == len(lines)
    assert [
        "| redis: completed orders/s, 64 held | 0.75 x (0.70 - 1.50) | >= 1.00 x | MISSED | 1.00 x (0.80 - 1.00) |",
        "| redis: held orders/s, 64 held | 0.75 x (0.75 - 1.50) | >= 1.00 x | MISSED | 1.00 x (0.90 - 1.10) |",
        "| redis: one held order alone, p50 | 1.50 x (1.50 - 1.50) | <= 1.00 x | MISSED | 1.00 x (0.90 - 2.00) |",
        "| redis: held order, 64 held: p99 | 1.00 x (1.00 - 1.00) | <= 1.15 x | met | 1.00 x (1.00 - 1.00) |",
        "| redis: completed orders/s, 64 held, 10 KB | 0.75 x (0.70 - 1.50) | >= 0.95 x | MISSED | "
        "1.00 x (0.80 - 1.00) |",
        "| redis: held orders/s, 64 held, 10 KB | 0.75 x (0.75 - 1.50) | >= 0.95 x | MISSED | 1.00 x (0.90 - 1.10) |",
    ] == lines[:6]
    assert lines[6].startswith("| rabbitmq: completed orders/s, 64 held | 0.75 x")


def test_a_run_without_large_bodies_has_no_goal_of_them() -> None:
    """The other goals remain."""
    measured = result()
    measured.plan = type(measured.plan)(bodies_kb=())

    assert len(GOALS) == len(goals([measured]).splitlines()) - 2


def test_limits_are_inclusive() -> None:
    """A ratio that equals its limit is met."""
    completed, _, alone, late = GOALS

    assert completed.is_met(1.0)
    assert not completed.is_met(0.999)
    assert alone.is_met(1.0)
    assert late.is_met(1.15)
    assert not late.is_met(1.151)
