"""renovate.json finds every image, and its limits allow the versions in use."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml

from sidecart.kubernetes import names
from sidecart.launcher.project import root

RENOVATE: dict[str, Any] = json.loads((root() / "renovate.json").read_text(encoding="utf-8"))
COMPOSE = (root() / "tye-or-compose/docker-compose.yml").read_text(encoding="utf-8")
IMAGES = sorted({str(each["image"]) for each in yaml.safe_load(COMPOSE)["services"].values()} - {names.APP_IMAGE})
BASES = re.findall(r"^FROM (\S+)", (root() / "tye-or-compose/Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)


def matches(pattern: str, path: str) -> bool:
    """Return whether a pattern of Renovate's form /.../ matches a path."""
    assert pattern[0] == pattern[-1] == "/"
    return re.search(pattern[1:-1], path) is not None


@pytest.mark.parametrize("manager", ["docker-compose", "dockerfile"])
def test_each_manager_finds_its_file(manager: str) -> None:
    """A manager that is not enabled, or whose pattern matches no file, updates nothing."""
    [pattern] = RENOVATE[manager]["managerFilePatterns"]
    files = [str(path.relative_to(root())) for path in (root() / "tye-or-compose").iterdir() if path.is_file()]

    assert manager in RENOVATE["enabledManagers"]
    assert 1 == sum(matches(pattern, path) for path in files)


def test_the_images_of_the_manifests_are_found() -> None:
    """The expression of the custom manager finds each image of names.py, with its version."""
    [custom] = RENOVATE["customManagers"]
    [pattern] = custom["managerFilePatterns"]
    [expression] = custom["matchStrings"]
    source = (root() / "src/sidecart/kubernetes/names.py").read_text(encoding="utf-8")
    found = re.finditer(expression.replace("(?<", "(?P<"), source)

    assert matches(pattern, "src/sidecart/kubernetes/names.py")
    assert set(names.SERVER_IMAGES.values()) == {f"{one['depName']}:{one['currentValue']}" for one in found}


@pytest.mark.parametrize("image", [*IMAGES, *BASES])
def test_a_limit_allows_the_version_in_use(image: str) -> None:
    """A limit that excludes the present version would stop the updates of its image."""
    name, _, version = image.partition("@")[0].partition(":")
    limits = [one["allowedVersions"] for one in RENOVATE["packageRules"] if name in one.get("matchPackageNames", [])]

    assert all(matches(limit, version) for limit in limits if limit)


def test_images_and_actions_get_digests() -> None:
    """Renovate looks a digest up before it adds it; this project pins none by hand."""
    assert {"docker:pinDigests", "helpers:pinGitHubActionDigests"} <= set(RENOVATE["extends"])
    disabled = [one["matchPackageNames"] for one in RENOVATE["packageRules"] if one.get("enabled") is False]
    assert [["daprio/**"]] == disabled
