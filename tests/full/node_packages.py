"""Programs with npm packages: a folder with a package.json, a lock file and a script."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

from sidecart.launcher.deadline import Deadline
from sidecart.launcher.programs import cache_folder, locked

SECONDS_MAX = 600  # 170 packages: 15 s from a fast registry, minutes from a slow one


def installed(folder: Path) -> Path:
    """Install a folder's locked packages in a cache folder that is named by the checksum of its
    files, and return the cache folder.
    """
    files = sorted(path for path in folder.iterdir() if path.is_file())
    checksum = hashlib.sha256(b"\0".join(part for path in files for part in (path.name.encode(), path.read_bytes())))
    cache = cache_folder() / f"{folder.name}-{checksum.hexdigest()[:16]}"
    cache.mkdir(parents=True, exist_ok=True)
    with locked(cache / "lock", f"the packages of {folder.name}", lambda _: None, Deadline()):
        if not (cache / "installed").exists():
            for path in files:
                shutil.copy(path, cache)
            done = subprocess.run(
                ["npm", "ci"], cwd=cache, capture_output=True, text=True, timeout=SECONDS_MAX, check=False
            )
            assert 0 == done.returncode, done.stdout + done.stderr
            (cache / "installed").touch()
    return cache


def locked_packages(folder: Path) -> dict[str, dict[str, object]]:
    """Return the packages of a folder's lock file."""
    packages = json.loads((folder / "package-lock.json").read_text("utf-8"))["packages"]
    return {name: each for name, each in packages.items() if name}


def unsafe(folder: Path) -> list[str]:
    """Return the locked packages with a URL, or without a checksum.

    Without a URL, npm uses its configured registry.
    """
    return [name for name, each in locked_packages(folder).items() if "resolved" in each or "integrity" not in each]
