"""Tests of the baseline: it has the services of dapr.yaml, each as the product declares it."""

from __future__ import annotations

import pytest

from bench.baseline.service import WITH_SETTINGS, program_of
from sidecart.launcher.topics import INBOX, read_topics, service_ids


@pytest.mark.parametrize("app_id", service_ids())
def test_the_baseline_has_every_service(app_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service without `SERVICE` and `wire(sidecar)` fails here, with the missing line."""
    monkeypatch.setenv("SMTP_URL", "smtp://127.0.0.1:25")
    consumed = {name for name, topic in read_topics().items() if app_id in topic.consumers and topic.component == INBOX}

    service = program_of(app_id).service

    assert (app_id, consumed) == (service.name, set(service.inputs))


def test_the_baseline_names_no_removed_service() -> None:
    """A line for an app that dapr.yaml lacks is found."""
    assert set() == WITH_SETTINGS.keys() - set(service_ids()), "bench/baseline/service.py: WITH_SETTINGS"
