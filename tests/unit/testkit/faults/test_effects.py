"""Tests of the effects of faults: affected requests, recovery times, explained repeats."""

from __future__ import annotations

from pathlib import Path

from sidecart.testkit.faults.audit import Audit
from sidecart.testkit.faults.effects import effects
from sidecart.testkit.faults.injector import InjectedFault
from tests.unit.testkit.faults.lamps import ROUTE, RULES, three_lamps

KILLED = InjectedFault("kill", "lighter", 100.0, 100.0)


def test_recovery_ends_with_the_first_answer_to_a_later_request(tmp_path: Path) -> None:
    """Recovery ends when a request sent after the fault is answered; held requests count as
    affected.
    """
    too_late = KILLED.ended + RULES.explained_seconds + 1.0
    audit = Audit(lost_keys=["over"], repeats_at=[110.0, too_late])

    (effect,) = effects(three_lamps(tmp_path), [KILLED], audit, ROUTE, RULES).values()

    assert (1, 1, 1, 1) == (effect.times, effect.held, effect.lost, effect.repeats)
    assert [3.5] == effect.recovery_seconds
