"""The version of the data that a system leaves on disk: records, events and queues."""

from __future__ import annotations

from pathlib import Path

from sidecart.launcher.errors import LaunchError

VERSION = "4"
"""Increase it with each change after which the data of the two versions differ.

Version 1 has no version file. Its records have a `log` where version 2 has an `outbox`. In version
3 the broker and the store have a login per app, without which an earlier Sidecart reaches nothing.
In version 4 the key of a registration is a keyed hash of the address. A service cannot list its
keys, so it cannot rename those of earlier versions, and each address would be free again.
"""
UPGRADED: tuple[str, ...] = ()
"""The versions whose data the servers take over when they start."""
FILE = "version"


def check(data: Path) -> None:
    """Write the version into a folder that is empty or has data of an upgraded version.

    Raises LaunchError for data of another version.
    """
    file = data / FILE
    found = file.read_text(encoding="utf-8").strip() if file.exists() else ""
    if found == VERSION:
        return
    if found not in UPGRADED and (found or (data.exists() and any(data.iterdir()))):
        raise LaunchError(
            f"{data} has data of version {found or '1'}, and this Sidecart reads version {VERSION}: "
            "`./sidecart reset` deletes them"
        )
    data.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{VERSION}\n", encoding="utf-8")
