"""The short form of the fault run: a minute of faults on the broker and store in BROKER and STORE,
then the audit.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from services.notification.mail.session import DOT_SECONDS_MAX
from sidecart.launcher.topics import GATEWAY, service_ids
from sidecart.testkit.faults.report import table
from sidecart.testkit.faults.run import run_trial
from sidecart.testkit.faults.schedule import Fault
from sidecart.testkit.faults.trial import KINDS, SWALLOWED_SHARE, kinds_of
from tests.faults.mutants import MUTANTS, SEEDS
from tests.faults.trials import REPLICAS, trial_of

SEED = int(os.environ.get("SEED", "1"))


def test_a_minute_of_faults_loses_nothing_and_does_nothing_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every accepted request has its effect exactly once, whichever process is killed or paused."""
    trial = trial_of(os.environ.get("BROKER", "redis"), os.environ.get("STORE", "redis"), SEED, short=True)

    report = run_trial(trial, tmp_path, print)

    with capsys.disabled():
        print(f"\n{table([report])}")
    assert [] == report.audit.findings
    assert (trial.plan.requests, 0, 0) == (report.audit.valid, report.audit.lost, report.audit.counts["paid twice"])
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


def test_the_audit_outlasts_a_mail_on_a_half_open_connection() -> None:
    """Until its time limit, the mail is not lost."""
    trial = trial_of("rabbitmq", "redis", SEED, short=True, kind="network")

    assert DOT_SECONDS_MAX < trial.open_quiet_seconds


def rounds(name: str, seed: int) -> tuple[list[Fault], list[Fault]]:
    """Return the pauses and the kills in the trial of a mutant."""
    faults = MUTANTS[name].trial(seed).faults
    assert isinstance(faults, tuple)
    return list(faults[::2]), list(faults[1::2])


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


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_a_trial_where_the_broker_and_the_store_allow_it(kind: str) -> None:
    """`all` leaves out the kinds that the broker and the store do not support."""
    assert kind == trial_of("redis", "postgres", 1, short=True, kind=kind).kind
    assert (kind != "rollback") == (kind in kinds_of("all", "rabbitmq", "postgres"))


def test_the_replicas_and_the_patched_apps_exist() -> None:
    """The trials name apps of dapr.yaml only; an app that they do not name runs once, unpatched."""
    patched = {app_id for mutant in MUTANTS.values() for app_id in mutant.app_ids}

    assert set() == REPLICAS.keys() - set(service_ids()), "tests/faults/trials.py: REPLICAS"
    assert set() == patched - {GATEWAY, *service_ids()}, "tests/faults/mutants.py: MUTANTS"
