"""Tests of the tables: each value is in its row."""

from collections import Counter

from bench import report
from bench.concurrency import ConcurrencyLevel
from bench.growth import Grown
from bench.load import Load
from bench.measure import OWN, Level, Measured, Plan, Result, Turn

PLAN = Plan(levels=(64,), bodies_kb=(10,), shares=(50,))


def load(milliseconds: float, answers: int = 10, seconds: float = 1.0) -> Load:
    """Return a load whose responses all took equally long."""
    return Load([milliseconds] * answers, Counter({201: answers}), seconds)


def turn(alone: float, held: int, completed: float) -> Turn:
    """Return one turn of a system with these speeds."""
    return Turn(
        alone=load(alone),
        mail_alone=load(20),
        floor_alone=load(2),
        floor_one=load(1),
        floor_held=load(9, 1_000),
        levels={64: Level(load(30, held), completed, {"order": 1.5, OWN: 0.25}, 2.5)},
        bodies={10: Level(load(60, held // 5), completed / 2, {})},
        open={50: (70.0, load(4))},
    )


def measured(*turns: Turn) -> Measured:
    """Return the measurement of one system."""
    return Measured(list(turns), {"order": 77.4, OWN: 50.0}, Counter({201: 5, 202: 1}), 2.5)


def result(broker: str = "redis") -> Result:
    """Return three rounds, the second of which is slow for both systems."""
    ours = measured(turn(3, 150, 75), turn(30, 15, 7), turn(3, 150, 75))
    baseline = measured(turn(2, 200, 100), turn(20, 20, 10), turn(2, 100, 50))
    copy = measured(turn(3, 165, 60), turn(27, 15, 7), turn(6, 135, 75))
    return Result(broker, PLAN, {"sidecart": ours, "baseline": baseline, "copy": copy})


def test_a_concurrency_level_reports_its_errors_and_the_latency_of_fresh_requests() -> None:
    """Any status other than 202 counts as an error of a held request."""
    level = ConcurrencyLevel(100, Counter({202: 98, 503: 2}), load(12), load(8))

    errors, fresh = report.fresh([ConcurrencyLevel(1), level]).splitlines()

    assert "ratio  100 held: errors: 2 (must be 0)" == errors
    assert "ratio  100 held: a fresh request, relative to no held requests: 1.50 x" in fresh
    assert fresh.endswith("goal <= 1.5: goal met)")


def test_each_row_has_the_median_the_spread_the_ratio_and_its_noise() -> None:
    """A slow round affects all systems, so the median of the ratios ignores it; the last column
    compares two equal shops.
    """
    text = report.systems([result()])

    assert (
        "| held orders, 64 held | 150 (15 - 150) orders/s | 100 (20 - 200) orders/s "
        "| 0.75 x (0.75 - 1.50) | 1.00 x (0.90 - 1.10) |"
    ) in text
    assert "| completed orders, 64 held, 10 KB | 38 (4 - 38) orders/s | 25 (5 - 50) orders/s | 0.75 x" in text
    assert "| CPU of the other systems meanwhile, 64 held | 2.5 (2.5 - 2.5) % of a core |" in text
    assert "| open loop at 50 % of its own saturation: rate | 70 (70 - 70) orders/s |" in text
    assert "| floor, one caller, one after the other: p50 | 1.00 (1.00 - 1.00) ms |" in text
    assert "| orders answered 201 / other | 5 / 1 | 5 / 1 |  | copy: 5 / 1 |" in text
    assert "| order | 1.50 | 1.50 |" in text
    assert "| all except the load generator | 1.50 | 1.50 |" in text
    assert "| order | 77 | 77 |" in text


def test_growth_has_a_row_per_size_as_multiples_of_the_smallest_in_the_same_round() -> None:
    """The cost of an order excludes the load generator; a slow round affects all sizes alike."""

    def at(milliseconds: float, completed: float, cpu: float) -> Turn:
        held = Level(load(9), completed, {"order": cpu / 2, "billing": cpu / 2, OWN: 9.0})
        return Turn(alone=load(milliseconds), levels={16: held})

    one = Grown("gateways", 1, [at(4, 100, 2), at(40, 10, 20), at(4, 100, 2)])
    many = Grown("gateways", 1_000, [at(6, 50, 3), at(60, 5, 30), at(6, 50, 3)])

    text = report.growth([[one, many]])

    assert "| gateways: 1 | 4.0 (1.00 x) | 100 (1.00 x) | 2.0 (1.00 x) | 60 / 0 |" in text
    assert "| gateways: 1,000 | 6.0 (1.50 x) | 50 (0.50 x) | 3.0 (1.50 x) | 60 / 0 |" in text


def test_answers_of_the_floor_count_with_those_of_the_orders() -> None:
    """A response other than 201 from the floor counts as a failure of the run."""
    refused = turn(3, 150, 75)
    refused.floor_held.statuses[500] += 1

    assert {201: 5 + 1020, 202: 1, 500: 1} == measured(refused).answers
