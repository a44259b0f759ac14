"""Each alert has a section in the runbook, and uses series that exist."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml

from sidecart.launcher.project import root

ALERTS = root() / "docs" / "grafana" / "alerts.yml"
RUNBOOK = root() / "docs" / "how-to" / "runbook.md"
METRICS = root() / "docs" / "reference" / "metrics.md"
DASHBOARD = root() / "docs" / "grafana" / "sidecart.json"
PROMETHEUS = root() / "docs" / "grafana" / "prometheus.yml"
MONITORING = root() / "deploy" / "kubernetes" / "options" / "monitoring" / "monitoring.yaml"
OF_PROMETHEUS = {"up", "max_over_time"}
OF_TARGETS = {"job", "app", "replica"}
"""The labels that the launcher gives to its targets."""


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


def expressions() -> list[str]:
    """Return the expressions of the alerts and of the dashboard."""
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    shown = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    return [*(rule["expr"] for rule in rules()), *shown]


def labels(expression: str) -> set[str]:
    """Return the labels that an expression selects or groups by."""
    groups = re.findall(r"\bby \(([a-z_, ]+)\)", expression)
    selectors = re.findall(r"\{([^}]*)\}", expression)
    return {each for group in groups for each in group.split(", ")} | {
        name for selector in selectors for name in re.findall(r"([a-z_]+)[=!]~?=?\"", selector)
    }


def endpoints() -> dict[str, dict[str, dict[str, Any]]]:
    """Return the relabelings of the PodMonitor, by port and label."""
    documents = yaml.safe_load_all(MONITORING.read_text(encoding="utf-8"))
    [monitor] = [each for each in documents if each["kind"] == "PodMonitor"]
    found = monitor["spec"]["podMetricsEndpoints"]
    return {each["port"]: {one["targetLabel"]: one for one in each["relabelings"]} for each in found}


def test_labels_are_found_in_selectors_and_groups() -> None:
    """The function of this test knows both operators of a selector."""
    assert {"a", "b", "c", "d"} == labels('sum by (a, b) (rate(x{c="1", d!~"2"}[1m]))')


def test_a_cluster_has_the_labels_of_the_dashboard_and_the_alerts() -> None:
    """A label that only the launcher gives makes a panel empty in a cluster."""
    page = METRICS.read_text(encoding="utf-8")
    documented = {each for cell in re.findall(r"^\|(?: [^|]+\|){2}([^|]*)\|", page, re.M) for each in cell.split("`")}
    used = {label for each in expressions() for label in labels(each)}

    assert OF_TARGETS == used - (documented - OF_TARGETS) - {"le"}
    assert used >= OF_TARGETS
    assert OF_TARGETS == endpoints()["metrics"].keys()
    assert "__meta_kubernetes_pod_name" == endpoints()["metrics"]["replica"]["sourceLabels"][0]


def test_a_cluster_has_the_job_of_the_launchers_targets() -> None:
    """The metrics of the sidecars have another job, so the panels of processes show apps only."""
    [job] = yaml.safe_load(PROMETHEUS.read_text(encoding="utf-8"))["scrape_configs"]
    selected = {each for one in expressions() for each in re.findall(r'job=~?"([^"]+)"', one)}

    assert job["job_name"] == endpoints()["metrics"]["job"]["replacement"]
    assert "job" not in endpoints()["dapr-metrics"]
    assert all(re.fullmatch(each, job["job_name"]) for each in selected)
