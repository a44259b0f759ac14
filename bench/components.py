"""A copy of the component files with one change, for a shop beside the unchanged one."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from sidecart.chassis.sidecar_api import PUBSUB
from sidecart.launcher.project import root

COMPONENTS = "components"
PARALLEL = "rabbitmq"
"""The broker whose component publishes one event at a time, so that several can be faster."""


def copied(folder: Path, broker: str, metadata: Mapping[str, str], publishers: int = 0) -> tuple[Path, ...]:
    """Copy the component files with other values for these names, and with this number of
    components that publish, unless it is 0; return the folders.

    Return () if the broker's components lack one of the names, or if several would change nothing.
    """
    shutil.copytree(root() / COMPONENTS, folder)
    folders = (folder / "policies", folder / "brokers" / broker, folder / "stores" / "redis")
    changed = dict.fromkeys(metadata, 0)
    for file in (each for some in folders for each in some.glob("*.yaml")):
        text = file.read_text(encoding="utf-8")
        for name, value in metadata.items():
            text, times = re.subn(rf'(- name: {name}\n *value: )"?[^"\n]*"?', rf'\g<1>"{value}"', text)
            changed[name] += times
        file.write_text(text, encoding="utf-8")
    if publishers:
        _publish_on(folders[1], publishers)
    return folders if all(changed.values()) and (broker == PARALLEL or not publishers) else ()


def _publish_on(folder: Path, publishers: int) -> None:
    """Let a folder have `pubsub`, `pubsub-2` and so on, which differ in their names only."""
    for file in folder.glob(f"{PUBSUB}-*.yaml"):
        file.unlink()
    text = (folder / f"{PUBSUB}.yaml").read_text(encoding="utf-8")
    for number in range(2, publishers + 1):
        name = f"{PUBSUB}-{number}"
        renamed, times = re.subn(rf"^  name: {PUBSUB}$", f"  name: {name}", text, flags=re.MULTILINE)
        assert times == 1, f"{folder}: {PUBSUB}.yaml has {times} names"
        (folder / f"{name}.yaml").write_text(renamed, encoding="utf-8")
