"""Judges repeated side effects: each needs a fault that explains it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from sidecart.testkit.faults.audit import Audit
from sidecart.testkit.faults.bookkeeping import RepeatRules, SideEffect
from sidecart.testkit.faults.injector import InjectedFault

# a fault that follows another so soon delays the recovery from the first
RECOVERY_SECONDS = 15.0
# tolerance between the first of two side effects and the fault that explains the second
IN_TIME_SECONDS = 5.0


class Repeats:
    """The faults of one run, as explanations of repeated side effects."""

    def __init__(self, rules: RepeatRules, faults: Sequence[InjectedFault]) -> None:
        self._rules = rules
        self._faults = faults
        self._explaining = sorted(
            (each for each in faults if each.target.startswith(rules.explained_by)), key=lambda each: each.began
        )

    def judge(self, audit: Audit, side_effects: Sequence[SideEffect]) -> None:
        """Count the side effects, and report the repeats that no fault explains."""
        audit.side_effects = len(side_effects)
        times: dict[str, list[float]] = defaultdict(list)
        for each in side_effects:
            times[each.id].append(each.at)
        unexplained = []
        for name, at in times.items():
            first, *later = sorted(at)
            audit.repeats += len(later)
            audit.repeats_at += later
            unexplained += [
                f"{name} {when - first:.1f} s after the first ({self.near(first, when)})"
                for when in later
                if not self.explained(first, when)
            ]
        if unexplained:
            audit.find(f"second {self._rules.name}s without a fault that explains them", unexplained)
        explaining = len(self._explaining)
        if audit.repeats > self._rules.per_fault_max * explaining:
            audit.find(f"{audit.repeats} second {self._rules.name}s are more than {explaining} faults explain")

    def explained(self, first: float, second: float) -> bool:
        """Return whether a fault came between a side effect and the record of it.

        Faults that follow it in quick succession extend the time for the second side effect.
        """
        for fault in self._explaining:
            if fault.began - IN_TIME_SECONDS <= first <= fault.ended + IN_TIME_SECONDS and fault.began <= second:
                until = fault.ended
                for later in self._explaining:
                    if fault.began <= later.began <= until + RECOVERY_SECONDS:
                        until = max(until, later.ended)
                if second <= until + self._rules.explained_seconds:
                    return True
        return False

    def near(self, first: float, second: float) -> str:
        """Return the faults near two side effects as text, with times in seconds relative to the
        first.
        """
        near = [
            each
            for each in self._faults
            if each.ended + self._rules.explained_seconds >= first and each.began <= second
        ]
        return ", ".join(
            f"{each.kind} {each.target} {each.began - first:+.1f} to {each.ended - first:+.1f}" for each in near
        )
