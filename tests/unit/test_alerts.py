"""Each alert has a section in the runbook, and uses series that exist."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from sidecart.launcher.project import root

ALERTS = root() / "docs" / "grafana" / "alerts.yml"
RUNBOOK = root() / "docs" / "how-to" / "runbook.md"
METRICS = root() / "docs" / "reference" / "metrics.md"
OF_PROMETHEUS = {"up"}


def rules() -> list[dict[str, Any]]:
    """Return the rules of the file."""
    found = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))
    return [rule for group in found["groups"] for rule in group["rules"]]


def test_each_alert_has_a_section_in_the_runbook() -> None:
    """The sections have the sequence of the file; the last one is about other systems."""
    sections = re.findall(r"^## (.+)$", RUNBOOK.read_text(encoding="utf-8"), re.MULTILINE)

    assert [*(rule["alert"] for rule in rules()), "Other alerts"] == sections


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_uses_known_series(rule: dict[str, Any]) -> None:
    """Each name is in the page about the metrics; a histogram has further series."""
    known = set(re.findall(r"`((?:sidecart|process)_[a-z_]+)`", METRICS.read_text(encoding="utf-8"))) | OF_PROMETHEUS
    names = {
        re.sub(r"_(count|sum|bucket)$", "", each) for each in re.findall(r"[a-z]+(?:_[a-z]+)+|\bup\b", rule["expr"])
    }

    assert set() == names - known
    assert {"severity"} == rule["labels"].keys()
    assert rule["annotations"]["summary"].endswith(".")
