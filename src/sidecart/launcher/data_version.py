"""The version of the data that a system leaves on disk: records, events and queues."""

from __future__ import annotations

from pathlib import Path

from sidecart.launcher.errors import LaunchError

VERSION = "2"
"""Increase it with each change that the data of the previous version does not survive.

Version 1 has no version file. Its records have a `log` where version 2 has an `outbox`.
"""
FILE = "version"


def check(data: Path) -> None:
    """Write the version into an empty folder; raise LaunchError for data of another version."""
    file = data / FILE
    found = file.read_text(encoding="utf-8").strip() if file.exists() else ""
    if found == VERSION:
        return
    if found or (data.exists() and any(data.iterdir())):
        raise LaunchError(
            f"{data} has data of version {found or '1'}, and this Sidecart reads version {VERSION}: "
            "`./sidecart reset` deletes them"
        )
    data.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{VERSION}\n", encoding="utf-8")
