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


def test_a_stream_is_near_its_cap_at_80_percent() -> None:
    """The cap is that of the component, and the reference names both numbers."""
    component = yaml.safe_load((root() / "components/brokers/redis/pubsub.yaml").read_text(encoding="utf-8"))
    [cap] = [int(each["value"]) for each in component["spec"]["metadata"] if each["name"] == "maxLenApprox"]
    [rule] = [each for each in rules() if each["alert"] == "StreamNearsItsCap"]
    limits = (root() / "docs" / "reference" / "limits.md").read_text(encoding="utf-8")

    assert f"> {cap * 8 // 10}" in rule["expr"]
    assert f"about {cap:,}; Redis removes the oldest" in limits
    assert f"{cap * 8 // 10:,}" in limits


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
