"""The form of 90 seconds: a minute of faults on the broker and store that BROKER and STORE name, then the audit."""

from __future__ import annotations

import itertools
import os
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.kinds import KINDS, SWALLOWED_SHARE, kinds_of, trial_of
from tests.faults.mutants import MUTANTS, SEEDS, STORM_SECONDS
from tests.faults.report import table
from tests.faults.run import run_trial
from tests.faults.schedule import (
    FULL,
    SHORT,
    Fault,
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

SEED = int(os.environ.get("SEED", "1"))
TARGETS = ("gateway", "gateway-sidecar", "order", "order-sidecar", "valkey", "mail")


def test_a_minute_of_faults_loses_nothing_and_does_nothing_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever is killed or is paused, every accepted request is carried through exactly once in effect."""
    trial = trial_of(os.environ.get("BROKER", "redis"), os.environ.get("STORE", "redis"), SEED, short=True)

    report = run_trial(trial, tmp_path, print)

    with capsys.disabled():
        print(f"\n{table([report])}")
    assert [] == report.audit.findings
    assert (trial.plan.requests, 0, 0) == (report.audit.valid, report.audit.lost, report.audit.paid_twice)
    assert report.faults >= 20


def test_what_the_broker_loses_and_what_a_sidecar_swallows_is_healed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every accepted request is carried through although connections lose publishes and a hundredth is never made."""
    trial = trial_of(
        os.environ.get("BROKER", "redis"), os.environ.get("STORE", "redis"), SEED, short=True, kind="lossy"
    )

    report = run_trial(replace(trial, swallowed_share=SWALLOWED_SHARE), tmp_path, print)

    with capsys.disabled():
        print(f"\n{table([report])}")
    assert [] == report.audit.findings
    assert report.audit.accepted == report.audit.valid > 50
    assert report.faults >= 5
    assert sum(report.swallowed.values()) >= 5


def test_the_same_seed_is_the_same_schedule() -> None:
    """So that a run that found something can be repeated."""
    assert schedule(7, TARGETS, FULL) == schedule(7, TARGETS, FULL)
    assert schedule(7, TARGETS, FULL) != schedule(8, TARGETS, FULL)
    assert lossy(7, TARGETS, 60.0) == lossy(7, TARGETS, 60.0) != lossy(8, TARGETS, 60.0)
    assert network(7, TARGETS, 60.0) == network(7, TARGETS, 60.0) != network(8, TARGETS, 60.0)
    assert rollbacks(7, "valkey", 60.0) == rollbacks(7, "valkey", 60.0) != rollbacks(8, "valkey", 60.0)
    assert storm(7, [TARGETS], "valkey", 8, 20.0, stuck=True) == storm(7, [TARGETS], "valkey", 8, 20.0, stuck=True)


def rounds(name: str, seed: int) -> tuple[list[Fault], list[Fault]]:
    """What is paused, and who is killed then, in the trial of a safeguard."""
    mutant = MUTANTS[name]
    faults = storm(seed, mutant.killed, mutant.frozen, mutant.times, STORM_SECONDS, stuck=mutant.stuck)
    return faults[::2], faults[1::2]


@pytest.mark.parametrize("seed", SEEDS)
def test_in_a_storm_each_dies_after_the_store_went_on_and_before_it_is_paused_again(seed: int) -> None:
    """What had piled up is under way then."""
    freezes, kills = rounds("outbox", seed)

    assert {("freeze", ("postgres",))} == {(fault.kind, fault.targets) for fault in freezes}
    assert {("kill", ("billing",)), ("kill", ("billing-1",))} == {(fault.kind, fault.targets) for fault in kills}
    assert all(freeze.at + freeze.seconds < kill.at for freeze, kill in zip(freezes, kills, strict=True))
    assert all(kill.at < freeze.at for kill, freeze in zip(kills, freezes[1:], strict=False))


@pytest.mark.parametrize("seed", SEEDS)
def test_what_publishes_dies_together_with_the_broker_that_is_paused(seed: int) -> None:
    """With whatever was said to them meanwhile."""
    freezes, kills = rounds("publishing again at the edge", seed)

    assert {("freeze", ("valkey",))} == {(fault.kind, fault.targets) for fault in freezes}
    assert {("kill", ("gateway-sidecar", "valkey"))} == {(fault.kind, fault.targets) for fault in kills}
    assert all(0.5 < kill.at - freeze.at < freeze.seconds for freeze, kill in zip(freezes, kills, strict=True))


@pytest.mark.parametrize(("shape", "faults_min"), [(FULL, 40), (SHORT, 15)])
def test_everybody_is_hit_and_nobody_after_the_end(shape: Shape, faults_min: int) -> None:
    """Each is killed, in either form; the last fault comes before the load ends."""
    faults = schedule(1, TARGETS, shape)

    assert set(TARGETS) == {target for fault in faults if fault.kind == "kill" for target in fault.targets}
    assert all(0 < fault.at < shape.seconds for fault in faults)
    assert count(faults) >= faults_min


@pytest.mark.parametrize("seconds", [20.0, 60.0])
def test_one_refusal_is_over_before_the_next(seconds: float) -> None:
    """Each kind happens, within the load."""
    kinds: list[tuple[Kind, tuple[str, ...]]] = [("alarm", ("b",)), ("read-only", ("s",)), ("full-disk", ("b", "s"))]
    faults = refusals(3, kinds, seconds)

    assert {kind for kind, _ in kinds} == {fault.kind for fault in faults}
    assert all(fault.at + fault.seconds < later.at for fault, later in itertools.pairwise(faults))
    assert faults[-1].at + faults[-1].seconds < seconds


def test_every_topic_gets_a_message_that_nothing_can_parse() -> None:
    """In the short form, too."""
    assert set(TARGETS) == {name for fault in unparseable(1, TARGETS, 5.0) for name in fault.targets}


def test_connections_are_lost_every_one_to_three_seconds() -> None:
    """For 0.4 s each time, and not before the shop has had its first requests."""
    faults = lossy(1, ["rabbitmq"], 60.0)

    assert 18 < len(faults) < 60
    assert all(1.0 <= later.at - fault.at <= 3.0 for fault, later in itertools.pairwise(faults))


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_a_trial_where_the_broker_and_the_store_allow_it(kind: str) -> None:
    """`all` leaves out what they do not allow."""
    assert kind == trial_of("redis", "postgres", 1, short=True, kind=kind).kind
    assert (kind != "rollback") == (kind in kinds_of("all", "rabbitmq", "postgres"))
