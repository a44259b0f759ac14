"""A copy of the project in which tests run the README's commands, because these use the project's
own folder.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sidecart.launcher.deadline import Deadline
from sidecart.launcher.local_http import get
from sidecart.launcher.ports import free_port
from sidecart.launcher.project import root

READY_SECONDS = 180
STOP_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Running:
    """A running shop that `./sidecart run` started."""

    folder: Path
    port: int
    launcher: subprocess.Popen[bytes]
    log: Path

    @property
    def url(self) -> str:
        """The shop's address."""
        return f"http://127.0.0.1:{self.port}"

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the folder of the running shop."""
        return subprocess.run(words, cwd=self.folder, capture_output=True, text=True, check=False)


def documented(command: str) -> str:
    """Return the command after checking that it is a line of its own in a how-to guide."""
    guides = sorted((root() / "docs" / "how-to").glob("*.md"))
    assert any(f"\n{command}\n" in guide.read_text("utf-8") for guide in guides), f"docs/how-to lacks {command}"
    return command


@contextmanager
def running(folder: Path, command: str, project: Path | None = None) -> Iterator[Running]:
    """Start a shop with a command on a free port, wait until it is ready, and stop it with Ctrl-C
    at the end.

    The shop runs in a copy of the project, which is this one by default. The launcher must end with
    code 0.
    """
    copy, port, log = folder / "shop", free_port(), folder / "run.log"
    shutil.copytree(project or root(), copy, ignore=shutil.ignore_patterns(".*", "__pycache__", "secrets"))
    (copy / ".venv").symlink_to(sys.prefix)
    words = [*command.split(), "--port", str(port)]
    with log.open("wb") as output, subprocess.Popen(words, cwd=copy, stdout=output, stderr=output) as launcher:
        try:
            Deadline().until(
                lambda: launcher.poll() is not None or "Ctrl-C stops everything" in log.read_text(),
                READY_SECONDS,
                log.read_text,
                0.2,
            )
            assert (200, None) == (get(port, "/readyz")[0], launcher.poll()), log.read_text()
            yield Running(copy, port, launcher, log)
        finally:
            launcher.send_signal(signal.SIGINT)
            launcher.wait(STOP_SECONDS)
    assert 0 == launcher.returncode, log.read_text()
