"""Several components that publish must have the same settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecart.doctor.findings import Severity
from tests.unit.doctor.test_pubsubs import PUBLISHER, STREAMS, reported, setting, severities

RULE = "publishers-disagree"


def further(text: str, name: str = "pubsub-2") -> str:
    """Return the same component with another name."""
    return text.replace("{name: pubsub}", f"{{name: {name}}}")


@pytest.mark.parametrize("name", ["pubsub-2", "pubsub-10"])
def test_equal_components_have_no_finding(tmp_path: Path, name: str) -> None:
    """The name and the name of the connection may differ."""
    found = reported(tmp_path, PUBLISHER, further(PUBLISHER, name) + setting("clientName", "second"))

    assert [] == severities(found, RULE)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (PUBLISHER.replace('value: "2"', 'value: "1"'), [Severity.DANGER]),
        (PUBLISHER + setting("heartBeat", "5s"), [Severity.DANGER]),
        (PUBLISHER.replace("value: amqp://127.0.0.1", "envRef: AMQP_URL"), [Severity.DANGER]),
        (STREAMS, [Severity.DANGER]),
        (PUBLISHER.replace("# doctor: publish-only\n", ""), [Severity.DANGER]),
        (PUBLISHER + "scopes: [order]\n", [Severity.WARNING]),
    ],
    ids=["value", "added", "source", "type", "readable", "scopes"],
)
def test_a_difference_is_reported(tmp_path: Path, text: str, expected: list[Severity]) -> None:
    """An event may pass each of them."""
    assert expected == severities(reported(tmp_path, PUBLISHER, further(text)), RULE)


def test_another_component_may_differ(tmp_path: Path) -> None:
    """No app publishes on a component whose name has no number."""
    found = reported(tmp_path, PUBLISHER, further(PUBLISHER + setting("heartBeat", "5s"), "pubsub-slow"))

    assert [] == severities(found, RULE)
