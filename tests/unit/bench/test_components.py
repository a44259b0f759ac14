"""Tests of the changed copies of the component files."""

from pathlib import Path

import pytest
import yaml

from bench.components import copied


def names(folder: Path) -> set[str]:
    """Return the names of the components that publish."""
    found = (yaml.safe_load(file.read_text())["metadata"]["name"] for file in folder.glob("*.yaml"))
    return {each for each in found if each.startswith("pubsub")}


def test_a_missing_value_is_found(tmp_path: Path) -> None:
    """copied() returns () when the broker has no setting with that name."""
    assert () == copied(tmp_path / "components", "rabbitmq", {"queueDepth": "10", "concurrency": "8"})


@pytest.mark.parametrize(("publishers", "found"), [(1, {"pubsub"}), (3, {"pubsub", "pubsub-2", "pubsub-3"})])
def test_components_that_publish_differ_in_their_names(tmp_path: Path, publishers: int, found: set[str]) -> None:
    """The project's own number does not matter."""
    _, folder, _ = copied(tmp_path / "components", "rabbitmq", {}, publishers)

    assert found == names(folder)
    one = (folder / "pubsub.yaml").read_text()
    for name in found:
        assert one.replace("name: pubsub\n", f"name: {name}\n", 1) == (folder / f"{name}.yaml").read_text()


def test_several_publish_on_rabbitmq_only(tmp_path: Path) -> None:
    """The component of Redis publishes several events at a time."""
    assert () == copied(tmp_path / "components", "redis", {}, 4)
