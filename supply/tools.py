"""The environment with the tools of the supply chain, apart from the project's packages."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from sidecart.launcher.deadline import Deadline
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.programs import Report, cache_folder, locked
from sidecart.launcher.project import root
from supply import locks


def python(report: Report, deadline: Deadline) -> Path:
    """Return the interpreter of the environment; the first call installs the locked tools.

    The path contains the lock's hash, so that a changed lock gets a new environment.
    """
    lock = root() / locks.TOOLS
    key = hashlib.sha256(lock.read_bytes()).hexdigest()[:16]
    folder = cache_folder() / f"supply-{key}-{sys.version_info.major}.{sys.version_info.minor}"
    folder.mkdir(parents=True, exist_ok=True)
    environment = folder / "venv"
    with locked(folder / "lock", "the tools", report, deadline):
        if not (folder / "complete").exists():
            report(f"installing the {len(locks.packages(locks.TOOLS))} packages of {locks.TOOLS} (only once)")
            shutil.rmtree(environment, ignore_errors=True)
            _run([sys.executable, "-m", "venv", str(environment)])
            install = ["-m", "pip", "install", "--quiet", "--require-hashes", "--no-deps", "-r", str(lock)]
            _run([str(environment / "bin" / "python"), *install])
            (folder / "complete").touch()
    return environment / "bin" / "python"


def environment() -> dict[str, str]:
    """Return the environment of the tools, without the packages of the project."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}


def _run(command: list[str]) -> None:
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LaunchError(f"{' '.join(command)} failed: {(done.stdout + done.stderr).strip()[-1000:]}")
