"""Tests of repeated side effects: a fault between the two must explain the second."""

from __future__ import annotations

import pytest

from sidecart.testkit.faults.audit import Audit
from sidecart.testkit.faults.bookkeeping import SideEffect
from sidecart.testkit.faults.injector import InjectedFault
from sidecart.testkit.faults.repeats import Repeats
from tests.unit.testkit.faults.lamps import RULES

KILLED = InjectedFault("kill", "lighter", 100.0, 100.0)
FROZEN = InjectedFault("freeze", "postgres", 100.0, 121.0)
TOO_LATE = KILLED.ended + RULES.explained_seconds + 1.0


@pytest.mark.parametrize(
    ("fault", "first", "second", "explained"),
    [
        (KILLED, 99.0, 104.0, True),  # killed between the side effect and the record of it
        (KILLED, 99.0, TOO_LATE, False),
        (KILLED, 80.0, 104.0, False),  # the first one was recorded long before
        (FROZEN, 110.0, 125.0, True),  # the record could not be written during the pause
        (FROZEN, 130.0, 135.0, False),  # both came after the fault
        (InjectedFault("kill", "switch", 100.0, 100.0), 99.0, 104.0, False),  # not involved
    ],
)
def test_a_second_side_effect_needs_a_fault_between_it_and_the_first(
    fault: InjectedFault, first: float, second: float, explained: bool
) -> None:
    """The fault must hit a process that can die between the side effect and the record of it."""
    assert explained == Repeats(RULES, [fault]).explained(first, second)


@pytest.mark.parametrize(("began", "explained"), [(110.0, True), (117.0, False)])
def test_faults_in_quick_succession_delay_a_second_side_effect(began: float, explained: bool) -> None:
    """A fault explains a repeat for longer if another fault soon follows it."""
    faults = [KILLED, InjectedFault("freeze", "lighter-sidecar", began, began + 20.0)]

    assert explained == Repeats(RULES, faults).explained(99.0, began + 60.0)


def test_a_repeat_is_reported_with_the_faults_near_it() -> None:
    """The report lists the faults between two side effects, in seconds relative to the first."""
    faults = [InjectedFault("kill", "switch", 50.0, 50.0), KILLED, InjectedFault("kill", "lamp", 150.0, 150.0)]

    near = Repeats(RULES, faults).near(101.0, 140.0)

    assert f"{KILLED.kind} {KILLED.target} -1.0 to -1.0" == near


@pytest.mark.parametrize(
    ("seconds", "findings"),
    [
        ([99.0], []),
        ([99.0, 104.0], []),
        ([99.0, TOO_LATE], ["1 second blinks without a fault that explains them"]),
        ([99.0, *[104.0] * 15], ["15 second blinks are more than 1 faults explain"]),
    ],
)
def test_repeats_are_counted_and_those_without_an_explanation_found(seconds: list[float], findings: list[str]) -> None:
    """One fault explains a limited number of repeats."""
    audit = Audit()

    Repeats(RULES, [KILLED]).judge(audit, [SideEffect("one", at) for at in seconds])

    assert (len(seconds), len(seconds) - 1, seconds[1:]) == (audit.side_effects, audit.repeats, audit.repeats_at)
    assert findings == [each.partition(":")[0] for each in audit.findings]
