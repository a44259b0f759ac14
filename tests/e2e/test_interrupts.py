"""Tests of Ctrl-C and SIGTERM at any moment: no traceback, the right exit code, and no process
remaining.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from sidecart.launcher.ports import free_port
from sidecart.launcher.project import root
from tests.e2e.conftest import broker, store

pytestmark = [pytest.mark.own_shop, pytest.mark.sidecars]

END_SECONDS = 120
DELAYS = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 3.0)
"""Seconds after the launcher's first line: while it loads, selects, starts servers, or starts apps.
"""
COMMANDS = ("run", "demo", "doctor", "bench --quick --only concurrency --broker redis")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the project, because `run` keeps its lock and its data in the project's own folder."""
    folder = tmp_path_factory.mktemp("interrupts") / "shop"
    shutil.copytree(root(), folder, ignore=shutil.ignore_patterns(".*", "__pycache__", "secrets"))
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


def handles_signals(pid: int) -> bool:
    """Return whether the first line of ./sidecart has run; before it, Python itself handles
    signals.
    """
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return True
    masks = [int(mask, 16) for mask in re.findall(r"^Sig(?:Blk|Cgt):\s+([0-9a-f]+)$", status, re.MULTILINE)]
    words = Path(f"/proc/{pid}/cmdline").read_bytes()
    # the process is the launcher by now
    return bool(masks and masks[0] & (1 << (signal.SIGINT - 1))) or b"\0sidecart.cli" in words


def of_session(session: int) -> list[psutil.Process]:
    """Return the running processes of a session; each child of the launcher has its own session."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == session:
                found.append(process)
        except (ProcessLookupError, psutil.Error):
            continue
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda each: each.name)
@pytest.mark.parametrize("command", COMMANDS, ids=lambda each: each.split()[0])
def test_an_interrupt_at_any_moment_ends_cleanly(
    copy: Path, tmp_path: Path, command: str, number: signal.Signals
) -> None:
    """After each delay the exit code is allowed, the output has no traceback, and no process
    remains.
    """
    wrong = {}
    for delay in DELAYS:
        code, output, remaining = interrupted(copy, tmp_path, command, number, delay)
        allowed = {0, 1, 128 + number, -number} if command == "doctor" else {0, 130, 128 + number, -number}
        if code not in allowed or "Traceback" in output or "Exception ignored" in output or remaining:
            wrong[delay] = (code, output, remaining)

    assert {} == wrong


def interrupted(
    copy: Path, folder: Path, command: str, number: signal.Signals, delay: float
) -> tuple[int, str, list[str]]:
    """Start the command, wait for the delay after its first line, and signal its process group like
    a terminal.

    Returns the exit code, the output and the names of remaining processes.
    """
    words = [sys.executable, "sidecart", *command.split()]
    if command == "run":
        words += ["--port", str(free_port())]
    if command in ("run", "demo"):
        words += ["--broker", broker(), "--store", store()]
    log = folder / "log"
    # a launcher that does not end shows its threads
    env = os.environ | {"PYTHONFAULTHANDLER": "1"}
    with log.open("wb") as output:
        launcher = subprocess.Popen(words, cwd=copy, env=env, stdout=output, stderr=output, start_new_session=True)
    while not handles_signals(launcher.pid):
        time.sleep(0.001)
    time.sleep(delay)
    known = children(launcher.pid)
    if launcher.poll() is None:
        os.killpg(launcher.pid, number)
    try:
        code = launcher.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        launcher.send_signal(signal.SIGABRT)
        launcher.wait(END_SECONDS)
        pytest.fail(f"{delay} s after its start, {number.name} did not end it: {log.read_text(errors='replace')}")
    remaining = [each.name() for each in of_session(launcher.pid)]
    remaining += [each.name() for each in known if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
    return code, log.read_text(errors="replace"), remaining


def children(pid: int) -> list[psutil.Process]:
    """Return the child processes so far."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
