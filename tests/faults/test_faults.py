"""The short form of the fault run: a minute of faults on the broker and store in BROKER and STORE,
then the audit.
"""

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
    """Every accepted request has its effect exactly once, whichever process is killed or paused."""
    trial = trial_of(os.environ.get("BROKER", "redis"), os.environ.get("STORE", "redis"), SEED, short=True)

    report = run_trial(trial, tmp_path, print)

    with capsys.disabled():
        print(f"\n{table([report])}")
    assert [] == report.audit.findings
    assert (trial.plan.requests, 0, 0) == (report.audit.valid, report.audit.lost, report.audit.paid_twice)
    assert report.faults >= 20


def test_lost_and_swallowed_events_are_healed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every accepted request completes although connections lose publishes and sidecars drop one in
    a hundred.
    """
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
    """The same seed gives the same schedule, so that a failing run can be repeated."""
    assert schedule(7, TARGETS, FULL) == schedule(7, TARGETS, FULL)
    assert schedule(7, TARGETS, FULL) != schedule(8, TARGETS, FULL)
    assert lossy(7, TARGETS, 60.0) == lossy(7, TARGETS, 60.0) != lossy(8, TARGETS, 60.0)
    assert network(7, TARGETS, 60.0) == network(7, TARGETS, 60.0) != network(8, TARGETS, 60.0)
    assert rollbacks(7, "valkey", 60.0) == rollbacks(7, "valkey", 60.0) != rollbacks(8, "valkey", 60.0)
    assert storm(7, [TARGETS], "valkey", 8, 20.0, stuck=True) == storm(7, [TARGETS], "valkey", 8, 20.0, stuck=True)


def rounds(name: str, seed: int) -> tuple[list[Fault], list[Fault]]:
    """Return the pauses and the kills in the trial of a mutant."""
    mutant = MUTANTS[name]
    faults = storm(seed, mutant.killed, mutant.frozen, mutant.times, STORM_SECONDS, stuck=mutant.stuck)
    return faults[::2], faults[1::2]


@pytest.mark.parametrize("seed", SEEDS)
def test_in_a_storm_each_kill_follows_a_pause_and_precedes_the_next(seed: int) -> None:
    """Each kill happens while the backlog of the pause is in progress."""
    freezes, kills = rounds("outbox", seed)

    assert {("freeze", ("postgres",))} == {(fault.kind, fault.targets) for fault in freezes}
    assert {("kill", ("billing",)), ("kill", ("billing-1",))} == {(fault.kind, fault.targets) for fault in kills}
    assert all(freeze.at + freeze.seconds < kill.at for freeze, kill in zip(freezes, kills, strict=True))
    assert all(kill.at < freeze.at for kill, freeze in zip(kills, freezes[1:], strict=False))


@pytest.mark.parametrize("seed", SEEDS)
def test_the_publishing_sidecar_dies_together_with_the_paused_broker(seed: int) -> None:
    """Both die with the requests that arrived during the pause."""
    freezes, kills = rounds("republished commands", seed)

    assert {("freeze", ("valkey",))} == {(fault.kind, fault.targets) for fault in freezes}
    assert {("kill", ("gateway-sidecar", "valkey"))} == {(fault.kind, fault.targets) for fault in kills}
    assert all(0.5 < kill.at - freeze.at < freeze.seconds for freeze, kill in zip(freezes, kills, strict=True))


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


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_a_trial_where_the_broker_and_the_store_allow_it(kind: str) -> None:
    """`all` leaves out the kinds that the broker and the store do not support."""
    assert kind == trial_of("redis", "postgres", 1, short=True, kind=kind).kind
    assert (kind != "rollback") == (kind in kinds_of("all", "rabbitmq", "postgres"))
