"""Faults of a cluster under load: nothing is lost, and nothing is paid twice."""

from __future__ import annotations

import os
from pathlib import Path

from sidecart.testkit.faults.report import fault_table, table
from tests.kubernetes import results, trial
from tests.kubernetes.shop import KubernetesShop

FEW, MANY = 10, 30
"""The number of faults by default, and with FULL=1."""


def test_faults_of_a_cluster_lose_nothing_and_do_nothing_twice(shop: KubernetesShop, tmp_path: Path) -> None:
    """Pods, containers, memory, evictions and a node: every accepted request has its result."""
    number = MANY if os.environ.get("FULL") else FEW
    seed = int(os.environ.get("SEED", "1"))

    report = trial.run(shop, seed, number, tmp_path, print)

    if folder := os.environ.get(results.FOLDER):
        report.write(Path(folder))
    print(f"\n{table([report])}\n\n{fault_table([report])}")
    assert [] == report.audit.findings
    assert 0 == report.audit.lost
    assert report.audit.counts["paid"] > 0
