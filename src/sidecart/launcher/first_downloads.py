"""Remembers the SHA-256 of the first download of each release archive (trust on first use).

The checksum beside an archive does not protect against an attacker who replaces both.
"""

from __future__ import annotations

import os
from pathlib import Path

from sidecart.launcher.errors import LaunchError

FOLDER = "first-downloads"
"""The folder in the cache, apart from the programs: a removed program is still remembered."""


class ChangedRelease(LaunchError):
    """A release archive differs from the one that this machine downloaded first."""


def require_same(cache: Path, title: str, url: str, checksum: str) -> None:
    """Record the checksum of the first download; raise ChangedRelease for a later different one.

    The record is of the version and the archive's name, so that it also holds for a mirror.
    """
    record = cache / FOLDER / f"{title.replace(' ', '-')}-{url.rpartition('/')[2]}.sha256"
    if not record.exists():
        record.parent.mkdir(parents=True, exist_ok=True)
        new = record.with_suffix(f".{os.getpid()}")
        new.write_text(f"{checksum}\n", encoding="ascii")
        new.replace(record)
        return
    first = record.read_text(encoding="ascii").strip()
    if checksum != first:
        raise ChangedRelease(
            f"{url} has SHA-256 {checksum}, but the first download of {title} had {first}: not used. "
            f"The release was replaced, or this download is forged. Find out which before you go on. "
            f"To accept the new archive, remove {record}"
        )
