"""The goals: the shop with sidecars is at least as fast as the same shop without them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.measure import HELD, Result, Turn, at_level, completed_per_second, held_p, held_per_second, with_body
from bench.report import ALONE, NOISE, spread, table

BODY_KB = 10


@dataclass(frozen=True, slots=True)
class Goal:
    """A ratio to the baseline that is wanted on each broker, as the median of the rounds."""

    what: str
    value: Callable[[Turn], float]
    at_least: float | None = None
    at_most: float | None = None

    @property
    def wanted(self) -> str:
        """The limit, as the table shows it."""
        return f">= {self.at_least:.2f} x" if self.at_most is None else f"<= {self.at_most:.2f} x"

    def is_met(self, ratio: float) -> bool:
        """Return whether a ratio is within the limit."""
        return (self.at_least is None or ratio >= self.at_least) and (self.at_most is None or ratio <= self.at_most)


GOALS = (
    Goal(f"completed orders/s, {HELD} held", at_level(HELD, completed_per_second), at_least=1.0),
    Goal(f"held orders/s, {HELD} held", at_level(HELD, held_per_second), at_least=1.0),
    Goal("one held order alone, p50", ALONE, at_most=1.0),
    Goal(f"held order, {HELD} held: p99", at_level(HELD, held_p(99)), at_most=1.15),
)
GOALS_OF_BODIES = (
    Goal(f"completed orders/s, {HELD} held, {BODY_KB} KB", with_body(BODY_KB, completed_per_second), at_least=0.95),
    Goal(f"held orders/s, {HELD} held, {BODY_KB} KB", with_body(BODY_KB, held_per_second), at_least=0.95),
)


def goals(results: Sequence[Result]) -> str:
    """Return a table of each goal on each broker, with the noise of its ratio in the same run."""
    rows = [
        [
            f"{result.broker}: {goal.what}",
            spread(result.ratios(goal.value)),
            goal.wanted,
            "met" if goal.is_met(statistics.median(result.ratios(goal.value))) else "MISSED",
            spread(result.noise(goal.value)),
        ]
        for result in results
        for goal in (*GOALS, *(GOALS_OF_BODIES if BODY_KB in result.plan.bodies_kb else ()))
    ]
    heads = ["ratio to the baseline: median (smallest - largest) of the rounds", "measured", "wanted", "verdict"]
    return table([*heads, NOISE], rows)
