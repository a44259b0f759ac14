"""Tests of the folder in which a fault run is kept."""

from pathlib import Path

import pytest

from sidecart.launcher.deadline import Deadline
from sidecart.launcher.errors import LaunchError
from tests.faults import run


def test_a_run_never_starts_on_the_data_of_an_earlier_one(tmp_path: Path) -> None:
    """The same seed gives the same ids and keys, so the audit would find wrong balances."""
    (tmp_path / "kills-redis-redis-1").mkdir()

    with pytest.raises(LaunchError, match="has an earlier run: remove it, or give --keep another folder"):
        run._run_one(
            run.Choice("redis", "redis", "kills", (1,), short=True, keep=tmp_path, gateways=1),
            "kills",
            1,
            Deadline(),
        )
