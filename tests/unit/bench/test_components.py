"""Tests of the changed copies of the component files."""

from collections.abc import Iterable
from pathlib import Path

import pytest
import yaml

from bench import components
from bench.components import copied
from sidecart.launcher.project import root

COMPONENT = "kind: Component\nmetadata:\n  name: {}\n"


def _names(folders: Iterable[Path]) -> set[str]:
    files = [file for folder in folders for file in folder.glob("*.yaml") if "brokers" in folder.parts]
    return {each["metadata"]["name"] for file in files for each in yaml.safe_load_all(file.read_text())}


def test_a_variant_without_a_matching_component_value_is_skipped(tmp_path: Path) -> None:
    """copied() returns () when the broker has no setting with that name."""
    assert () == copied(tmp_path / "components", "rabbitmq", {"queueDepth": "10", "concurrency": "8"})


def test_a_variant_without_a_component_has_the_others(tmp_path: Path) -> None:
    """Files with one and with several documents keep the components that the pattern leaves."""
    folders = copied(tmp_path / "one", "rabbitmq", {}, "mail*")

    assert _names(folders) == _names([root() / "components" / "brokers" / "rabbitmq"]) - {"mailbus"}
    assert (tmp_path / "one" / "brokers" / "redis" / "mailbus.yaml").exists()


def test_a_file_keeps_its_other_documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only components match a pattern."""
    file = Path("brokers") / "rabbitmq" / "several.yaml"
    (tmp_path / "components" / file).parent.mkdir(parents=True)
    documents = [
        COMPONENT.format("pubsub"),
        COMPONENT.format("pubsub-2"),
        "kind: Resiliency\nmetadata:\n  name: pubsub-3\n",
    ]
    (tmp_path / "components" / file).write_text("---\n".join(documents))
    monkeypatch.setattr(components, "root", lambda: tmp_path)

    assert copied(tmp_path / "copy", "rabbitmq", {}, "pubsub-*")

    assert "---\n".join((documents[0], documents[2])) == (tmp_path / "copy" / file).read_text()


def test_a_variant_without_a_matching_component_is_skipped(tmp_path: Path) -> None:
    """The Redis components have one that publishes."""
    assert () == copied(tmp_path / "components", "redis", {}, "pubsub-*")
