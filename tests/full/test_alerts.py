"""The alerts about the trimmer, by promtool: they fire if it is stuck or absent, and else not."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidecart.launcher.project import root

ALERTS = root() / "docs" / "grafana" / "alerts.yml"
ALERT = "TrimmerIsStuck"
PASSED = "sidecart_trimmer_passed_timestamp_seconds"
STOPS_AT, LOOKS_AT = 30, 50
"""Minutes after the start."""


def problems(folder: Path, series: list[dict[str, str]], fires: bool) -> str:
    """Return what promtool says if the alert does not fire, or not fire, as expected."""
    assert shutil.which("promtool"), "promtool is not installed: make system-deps-full"
    [rule] = [
        each
        for group in yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
        for each in group["rules"]
        if each["alert"] == ALERT
    ]
    firing = [{"exp_labels": rule["labels"], "exp_annotations": rule["annotations"]}] if fires else []
    looks: list[dict[str, Any]] = [{"eval_time": f"{LOOKS_AT}m", "alertname": ALERT, "exp_alerts": firing}]
    case = {"interval": "1m", "input_series": series, "alert_rule_test": looks}
    file = folder / "case.yml"
    file.write_text(
        yaml.safe_dump({"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": [case]}), encoding="utf-8"
    )
    answer = subprocess.run(["promtool", "test", "rules", file], capture_output=True, text=True, check=False)
    return "" if answer.returncode == 0 else answer.stdout + answer.stderr


@pytest.mark.parametrize(
    ("values", "fires"),
    [
        (f"0+60x{LOOKS_AT}", False),
        (f"0+60x{STOPS_AT} {STOPS_AT * 60}x{LOOKS_AT - STOPS_AT}", True),
        (f"0+60x{STOPS_AT} stale _x{LOOKS_AT - STOPS_AT}", True),
        (f"0x{LOOKS_AT}", True),
        (f"0+60x{STOPS_AT} _x5 {(STOPS_AT + 6) * 60}+60x{LOOKS_AT - STOPS_AT}", False),
    ],
    ids=["works", "stuck", "absent", "never passed", "restarted"],
)
def test_the_alert_fires_for_a_trimmer_that_does_not_work(tmp_path: Path, values: str, fires: bool) -> None:
    """Ten minutes after its last pass; a short restart is no reason."""
    assert "" == problems(tmp_path, [{"series": PASSED, "values": values}], fires)


def test_a_system_without_a_trimmer_has_no_alert(tmp_path: Path) -> None:
    """RabbitMQ removes consumed messages itself."""
    others = [{"series": 'up{job="sidecart", app="order"}', "values": f"1x{LOOKS_AT}"}]

    assert "" == problems(tmp_path, others, fires=False)
