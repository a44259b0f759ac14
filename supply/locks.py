"""The packages of the lock files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from sidecart.launcher.project import root

IMAGE, DEVELOPER = "image", "developer"
LOCKS: Mapping[str, str] = {IMAGE: "requirements-apps.lock", DEVELOPER: "requirements.lock"}
"""The locks with a bill of materials: of the image, and of the developer's environment."""
TOOLS = "requirements-supply.lock"
AUDITED = (*LOCKS.values(), "requirements-release.lock", TOOLS)


@dataclass(frozen=True, slots=True, order=True)
class Package:
    """One line of a lock: a package may have a version for each Python."""

    name: str
    version: str


def packages(file: str) -> list[Package]:
    """Return the packages of a lock file, sorted by name and version."""
    text = (root() / file).read_text(encoding="utf-8")
    return sorted(Package(*found) for found in re.findall(r"^([\w.-]+)==([^\s;\\]+)", text, re.MULTILINE))


def names(file: str) -> set[str]:
    """Return the names of a lock's packages."""
    return {each.name for each in packages(file)}
