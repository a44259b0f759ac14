"""The test cluster names a full disk before its nodes evict every pod."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from sidecart.launcher.deadline import Deadline
from sidecart.launcher.errors import LaunchError
from tests.kubernetes.cluster import disk
from tests.kubernetes.cluster.cluster import Cluster
from tests.kubernetes.cluster.disk import GIB


@pytest.mark.parametrize(
    ("total", "free", "is_enough"),
    [(50, 3, True), (50, 2.9, False), (500, 10, True), (500, 9.9, False)],
)
def test_the_free_space_is_compared(
    total: float, free: float, is_enough: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At least 3 GiB, and 2 % of a large disk: the nodes evict pods at 1 %."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=int(total * GIB), free=int(free * GIB)))

    found = disk.problem(tmp_path)

    assert is_enough == (found is None)
    assert is_enough or str(tmp_path) in str(found)


def test_each_stage_of_the_cluster_checks_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A build in between may fill it."""
    monkeypatch.setattr(disk, "problem", lambda _: "the disk is full")

    with pytest.raises(LaunchError, match="the disk is full"):
        Cluster(print, Deadline())._lap("a stage")
