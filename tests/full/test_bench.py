"""Tests of `sidecart bench` in runs too short for meaningful numbers: it completes and writes its
results.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from bench.goals import GOALS, GOALS_OF_BODIES
from sidecart.launcher.project import root

HANG_SECONDS = 1_200  # ends a bench that hangs; on a busy machine one takes several minutes
SHORT = ("--broker", "redis", "--rounds", "1", "--users", "200", "--alone", "5", "--seconds", "1")


def test_the_live_page_is_compared_with_a_shop_without_it(tmp_path: Path) -> None:
    """The bench prints a `ratio` line, writes the memory of the monitor's processes, and every
    order gets 201.
    """
    only = ("--only", "monitor", "--out", str(tmp_path))

    ran = subprocess.run(
        [sys.executable, "-m", "sidecart.cli", "bench", *SHORT, *only],
        cwd=root(),
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
    )

    assert 0 == ran.returncode, ran.stdout[-3_000:] + ran.stderr[-3_000:]
    [ratio] = re.findall(r"^ratio  redis: completed orders/s with a monitor .*: (\d\.\d+) x ", ran.stdout, re.MULTILINE)
    assert float(ratio) > 0
    table = (tmp_path / "monitor.md").read_text()
    memory = re.findall(r"^\| (monitor(?:-sidecar)?): resident memory, MiB \| +\| (\d+) ", table, re.MULTILINE)
    assert ["monitor", "monitor-sidecar"] == [name for name, mib in memory if int(mib) > 0]


def test_both_systems_and_the_latency_breakdown_is_measured(tmp_path: Path) -> None:
    """The bench prints a row per goal on Redis, writes tables, results and plots; every order gets
    201.
    """
    only = ("--only", "systems", "--only", "latency-breakdown", "--out", str(tmp_path))

    ran = subprocess.run(
        [sys.executable, "-m", "sidecart.cli", "bench", *SHORT, *only],
        cwd=root(),
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
    )

    assert 0 == ran.returncode, ran.stdout[-3_000:] + ran.stderr[-3_000:]
    ratio = r"\d+\.\d\d x \(\d+\.\d\d - \d+\.\d\d\)"
    rows = re.findall(
        rf"^\| redis: (.+) \| {ratio} \| [<>]= .+ x \| [a-zA-Z]+ \| {ratio} \|$", ran.stdout, re.MULTILINE
    )
    assert [each.what for each in (*GOALS, *GOALS_OF_BODIES)] == rows
    written = {path.name for path in tmp_path.iterdir()}
    assert {
        "systems.md",
        "systems.json",
        "redis.svg",
        "latency-breakdown.md",
        "latency-breakdown.json",
        "latency-breakdown.svg",
    } == written
    (redis,) = json.loads((tmp_path / "systems.json").read_text())["systems"]
    assert {"sidecart", "baseline", "copy"} == set(redis["systems"])
    assert {"1", "10", "30"} == set(redis["systems"]["baseline"]["turns"][0]["bodies"])
    segments = json.loads((tmp_path / "latency-breakdown.json").read_text())["latency-breakdown"]["redis"]
    assert min(segment["milliseconds"] for segment in segments) >= 0
    through = [segment for segment in segments if "publish, broker, deliver" in segment["name"]]
    assert 2 == len(through), segments
    assert all(0 < segment["sidecar_milliseconds"] < segment["milliseconds"] for segment in through), segments
