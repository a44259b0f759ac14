"""A copy of the component files with one change, for a shop beside the unchanged one."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path

import yaml

from sidecart.launcher.project import root

COMPONENTS = "components"


def copied(folder: Path, broker: str, metadata: Mapping[str, str], without: str = "") -> tuple[Path, ...]:
    """Copy the component files with other values for these names, and without the components whose
    names match the pattern; return the folders.

    Return () if the broker's components lack one of the names, or none matches the pattern.
    """
    shutil.copytree(root() / COMPONENTS, folder)
    folders = (folder / "policies", folder / "brokers" / broker, folder / "stores" / "redis")
    changed = dict.fromkeys(metadata, 0)
    left_out = 0
    for file in (each for some in folders for each in some.glob("*.yaml")):
        text = file.read_text(encoding="utf-8")
        for name, value in metadata.items():
            text, times = re.subn(rf'(- name: {name}\n *value: )"?[^"\n]*"?', rf'\g<1>"{value}"', text)
            changed[name] += times
        documents = re.split(r"^---\n", text, flags=re.MULTILINE)
        kept = [each for each in documents if not _is_component(each, without)]
        left_out += len(documents) - len(kept)
        file.write_text("---\n".join(kept), encoding="utf-8")
        if not kept:
            file.unlink()
    return folders if all(changed.values()) and (left_out or not without) else ()


def _is_component(document: str, pattern: str) -> bool:
    """Return whether a YAML document is a component whose name matches the pattern."""
    found = yaml.safe_load(document) if pattern else None
    return isinstance(found, dict) and found["kind"] == "Component" and fnmatchcase(found["metadata"]["name"], pattern)
