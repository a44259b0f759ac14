"""The component files of components/, beyond what the doctor checks."""

from pathlib import Path

import pytest
import yaml

from sidecart.launcher.project import root

COMPONENTS = [
    path for path in sorted((root() / "components").glob("*/*/*.yaml")) if "kind: Component" in path.read_text("utf-8")
]


@pytest.mark.parametrize("path", COMPONENTS, ids=lambda path: str(path.relative_to(root())))
def test_a_sidecar_has_time_to_connect(path: Path) -> None:
    """Dapr's default of 5 s ended a sidecar that started while the machine was busy."""
    assert "30s" == yaml.safe_load(path.read_text("utf-8"))["spec"].get("initTimeout"), f"{path}: initTimeout"
