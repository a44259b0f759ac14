"""The component files of components/, beyond what the doctor checks."""

from pathlib import Path

import pytest
import yaml

from sidecart.chassis.publish_components import is_further
from sidecart.chassis.sidecar_api import PUBSUB
from sidecart.launcher.project import root

COMPONENTS = [
    path for path in sorted((root() / "components").glob("*/*/*.yaml")) if "kind: Component" in path.read_text("utf-8")
]


@pytest.mark.parametrize("path", COMPONENTS, ids=lambda path: str(path.relative_to(root())))
def test_a_sidecar_has_time_to_connect(path: Path) -> None:
    """Dapr's default of 5 s ended a sidecar that started while the machine was busy."""
    assert "30s" == yaml.safe_load(path.read_text("utf-8"))["spec"].get("initTimeout"), f"{path}: initTimeout"


FURTHER = [path for path in COMPONENTS if is_further(path.stem)]


@pytest.mark.parametrize("path", FURTHER, ids=lambda path: str(path.relative_to(root())))
def test_a_further_component_to_publish_has_the_settings_of_the_first(path: Path) -> None:
    """Apps use all of them in turn, so only the name may differ."""
    first = yaml.safe_load(path.with_name(f"{PUBSUB}.yaml").read_text("utf-8"))

    assert {**first, "metadata": {"name": path.stem}} == yaml.safe_load(path.read_text("utf-8"))


def test_only_one_broker_needs_further_components() -> None:
    """On Redis a component publishes in parallel (ADR 74)."""
    assert {"rabbitmq"} == {path.parent.name for path in FURTHER}
