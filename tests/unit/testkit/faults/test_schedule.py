"""Tests of the schedules of faults: the seed decides, and each target is hit in time."""

from __future__ import annotations

import itertools

import pytest

from sidecart.testkit.faults.schedule import (
    FULL,
    SHORT,
    Kind,
    Shape,
    count,
    lossy,
    network,
    refusals,
    rollbacks,
    schedule,
    storm,
    unparseable,
)

TARGETS = ("gateway", "gateway-sidecar", "lamp", "lamp-sidecar", "valkey", "mail")


def test_the_same_seed_is_the_same_schedule() -> None:
    """The same seed gives the same schedule, so that a failing run can be repeated."""
    assert schedule(7, TARGETS, FULL) == schedule(7, TARGETS, FULL)
    assert schedule(7, TARGETS, FULL) != schedule(8, TARGETS, FULL)
    assert lossy(7, TARGETS, 60.0) == lossy(7, TARGETS, 60.0) != lossy(8, TARGETS, 60.0)
    assert network(7, TARGETS, 60.0) == network(7, TARGETS, 60.0) != network(8, TARGETS, 60.0)
    assert rollbacks(7, "valkey", 60.0) == rollbacks(7, "valkey", 60.0) != rollbacks(8, "valkey", 60.0)
    assert storm(7, [TARGETS], "valkey", 8, 20.0, stuck=True) == storm(7, [TARGETS], "valkey", 8, 20.0, stuck=True)


@pytest.mark.parametrize(("shape", "faults_min"), [(FULL, 40), (SHORT, 15)])
def test_every_target_is_killed_and_no_fault_comes_after_the_end(shape: Shape, faults_min: int) -> None:
    """Both forms kill every target, and their last fault comes before the load ends."""
    faults = schedule(1, TARGETS, shape)

    assert set(TARGETS) == {target for fault in faults if fault.kind == "kill" for target in fault.targets}
    assert all(0 < fault.at < shape.seconds for fault in faults)
    assert count(faults) >= faults_min


@pytest.mark.parametrize("seconds", [20.0, 60.0])
def test_refusals_do_not_overlap(seconds: float) -> None:
    """Each kind of refusal happens within the load, and ends before the next one starts."""
    kinds: list[tuple[Kind, tuple[str, ...]]] = [("alarm", ("b",)), ("read-only", ("s",)), ("full-disk", ("b", "s"))]
    faults = refusals(3, kinds, seconds)

    assert {kind for kind, _ in kinds} == {fault.kind for fault in faults}
    assert all(fault.at + fault.seconds < later.at for fault, later in itertools.pairwise(faults))
    assert faults[-1].at + faults[-1].seconds < seconds


def test_every_topic_gets_an_unparseable_message() -> None:
    """A schedule of five seconds covers every topic, too."""
    assert set(TARGETS) == {name for fault in unparseable(1, TARGETS, 5.0) for name in fault.targets}


def test_connections_are_lost_every_one_to_three_seconds() -> None:
    """Lossy faults follow each other at intervals of 1 to 3 s."""
    faults = lossy(1, ["rabbitmq"], 60.0)

    assert 18 < len(faults) < 60
    assert all(1.0 <= later.at - fault.at <= 3.0 for fault, later in itertools.pairwise(faults))
