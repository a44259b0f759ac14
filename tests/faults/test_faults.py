"""The form of 90 seconds: a minute of faults on the broker and store that BROKER and STORE name, then the audit."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.faults.kinds import trial_of
from tests.faults.report import table
from tests.faults.run import run_trial
from tests.faults.schedule import FULL, SHORT, Fault, Shape, count, schedule, storm
from tests.faults.teeth import SEEDS, STORM_SECONDS, TEETH

SEED = int(os.environ.get("SEED", "1"))
TARGETS = ("gateway", "gateway-sidecar", "order", "order-sidecar", "valkey", "mail")


def test_a_minute_of_faults_loses_nothing_and_does_nothing_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever is killed or stands still, every accepted request is carried through exactly once in effect."""
    trial = trial_of(os.environ.get("BROKER", "redis"), os.environ.get("STORE", "redis"), SEED, short=True)

    report = run_trial(trial, tmp_path, print)

    with capsys.disabled():
        print(f"\n{table([report])}")
    assert [] == report.audit.findings
    assert (trial.plan.requests, 0, 0) == (report.audit.valid, report.audit.lost, report.audit.paid_twice)
    assert report.faults >= 20


def test_the_same_seed_is_the_same_schedule() -> None:
    """So that a run that found something can be repeated."""
    assert schedule(7, TARGETS, FULL) == schedule(7, TARGETS, FULL)
    assert schedule(7, TARGETS, FULL) != schedule(8, TARGETS, FULL)
    assert storm(7, [TARGETS], "valkey", 8, 20.0, stuck=True) == storm(7, [TARGETS], "valkey", 8, 20.0, stuck=True)


def rounds(name: str, seed: int) -> tuple[list[Fault], list[Fault]]:
    """What stands still, and who is killed then, in the trial of a safeguard."""
    tooth = TEETH[name]
    faults = storm(seed, tooth.killed, tooth.frozen, tooth.times, STORM_SECONDS, stuck=tooth.stuck)
    return faults[::2], faults[1::2]


@pytest.mark.parametrize("seed", SEEDS)
def test_in_a_storm_each_dies_after_the_store_went_on_and_before_it_stands_still_again(seed: int) -> None:
    """What had piled up is under way then."""
    freezes, kills = rounds("log", seed)

    assert {("freeze", ("postgres",))} == {(fault.kind, fault.targets) for fault in freezes}
    assert {("kill", ("billing",)), ("kill", ("billing-1",))} == {(fault.kind, fault.targets) for fault in kills}
    assert all(freeze.at + freeze.seconds < kill.at for freeze, kill in zip(freezes, kills, strict=True))
    assert all(kill.at < freeze.at for kill, freeze in zip(kills, freezes[1:], strict=False))


@pytest.mark.parametrize("seed", SEEDS)
def test_what_publishes_dies_together_with_the_broker_that_stands_still(seed: int) -> None:
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
