"""A copy of the project in which tests run documented commands, because these use the project's own
folder.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sidecart.launcher.deadline import Deadline
from sidecart.launcher.environment import plain_environment
from sidecart.launcher.lifecycle.plan import issuer_folder
from sidecart.launcher.local_http import get
from sidecart.launcher.ports import free_port
from sidecart.launcher.project import root

READY_SECONDS = 180
STOP_SECONDS = 60
NOT_COPIED = shutil.ignore_patterns(
    ".git", ".venv*", ".sidecart", ".*_cache", ".hypothesis", "__pycache__", "node_modules", "secrets", "names.sqlite*"
)
MAKE_ENDS = (0, 2, -signal.SIGINT)
"""After Ctrl-C make ends with its own code or by the signal, although its command ended well."""
TERMINAL = ("env", "--default-signal=INT")
"""Gives a command a terminal's Ctrl-C; a shell ignores it for what runs in the background."""


def copied(folder: Path, project: Path | None = None) -> Path:
    """Copy the project, which is this one by default, to `folder`, and return the folder."""
    shutil.copytree(project or root(), folder, ignore=NOT_COPIED)
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


def shell_environment(copy: Path) -> dict[str, str]:
    """Return the environment of a user's shell in the copy, whose Python imports the copy."""
    return plain_environment() | {"PYTHONPATH": f"{copy / 'src'}:{copy}", "SIDECART_PROJECT": str(copy)}


def run_in(copy: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the copy until it ends; its stdout has what it wrote to stderr too."""
    return subprocess.run(
        words,
        cwd=copy,
        env=shell_environment(copy),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


@dataclass(frozen=True, slots=True)
class Running:
    """A running shop that a documented command started."""

    folder: Path
    port: int
    launcher: subprocess.Popen[bytes]
    log: Path

    @property
    def url(self) -> str:
        """The shop's address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def issuer_folder(self) -> Path:
        """The folder of the keys of the local token issuer."""
        return issuer_folder(self.folder / ".sidecart")

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the folder of the running shop."""
        return subprocess.run(words, cwd=self.folder, capture_output=True, text=True, check=False)


@contextmanager
def foreground(
    folder: Path, command: str, log: Path, *, env: Mapping[str, str] | None = None, ends: Collection[int] = (0,)
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command in a terminal's way, and stop it with Ctrl-C, which reaches its process group.

    `ends` has the exit codes that a clean stop may have. A traceback is none.
    """
    shell = [*TERMINAL, "bash", "-c", command]
    with (
        log.open("wb") as output,
        subprocess.Popen(shell, cwd=folder, env=env, stdout=output, stderr=output, start_new_session=True) as process,
    ):
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                raise
    text = log.read_text()
    assert process.returncode in ends, f"{command} ended with {process.returncode}:\n{text}"
    assert "Traceback" not in text, text


def wait_for_line(process: subprocess.Popen[bytes], log: Path, words: str, seconds: float = READY_SECONDS) -> None:
    """Wait until the output of a running command has these words."""
    Deadline().until(lambda: process.poll() is not None or words in log.read_text(), seconds, log.read_text, 0.2)
    assert words in log.read_text(), log.read_text()


@contextmanager
def running(folder: Path, command: str, project: Path | None = None) -> Iterator[Running]:
    """Start a shop with a command on a free port, wait until it is ready, and stop it with Ctrl-C
    at the end.

    The shop runs in a copy of the project, which is this one by default.
    """
    copy, port, log = copied(folder / "shop", project), free_port(), folder / "run.log"
    ends = MAKE_ENDS if command.startswith("make ") else (0,)
    with foreground(copy, command, log, env=os.environ | {"PORT": str(port)}, ends=ends) as launcher:
        wait_for_line(launcher, log, "Ctrl-C stops everything")
        assert (200, None) == (get(port, "/readyz")[0], launcher.poll()), log.read_text()
        yield Running(copy, port, launcher, log)
