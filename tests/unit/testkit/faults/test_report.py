"""Tests of the report: it survives its file, and shows the counts of the project's bookkeeping."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from sidecart.launcher.errors import LaunchError
from sidecart.testkit.faults.audit import Audit
from sidecart.testkit.faults.effects import Effect
from sidecart.testkit.faults.report import Report, fault_table, table

REPORT = Report(
    broker="redis",
    store="postgres",
    seed=1,
    seconds=60.0,
    faults=2,
    effects={"kill lamp": Effect(times=2, held=3, recovery_seconds=[0.5, 1.5], repeats=1)},
    broken_calls={},
    restarts=2,
    audit=Audit(valid=10, accepted=9, created=8, pending=1, repeats=1, counts={"lamps": 7}),
)


def test_a_written_report_is_read_again(tmp_path: Path) -> None:
    """The file has every field."""
    assert REPORT == Report.read(REPORT.write(tmp_path))


def test_a_report_of_another_version_is_named(tmp_path: Path) -> None:
    """The message names the file."""
    path = REPORT.write(tmp_path)
    fields = json.loads(path.read_text())
    fields["audit"]["candles"] = 1
    path.write_text(json.dumps(fields))

    with pytest.raises(LaunchError, match=path.name):
        Report.read(path)


def test_the_table_has_a_column_for_each_count_of_the_project() -> None:
    """A report without the count leaves its cell empty."""
    head, _, first, second = table([REPORT, replace(REPORT, audit=Audit())]).splitlines()

    column = [cell.strip() for cell in head.split("|")].index("lamps")
    assert "7" == first.split("|")[column].strip()
    assert "" == second.split("|")[column].strip()


def test_the_effects_of_a_fault_are_merged_over_the_seeds() -> None:
    """One row has the sums of all runs on a broker and a store."""
    assert (
        "| kill lamp | redis, postgres | 4 | 6 | 1.0 / 1.5 | 2 | 0 |"
        == (fault_table([REPORT, REPORT]).splitlines()[-1])
    )
