"""Namespaces of the kernel that hold one node or the switch: mounts, network and processes.

Nothing outside changes, and all processes in them end with the first one. That one ends with the
program that started it.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from sidecart.launcher.deadline import Deadline
from sidecart.launcher.processes import Processes
from sidecart.launcher.project import root

START_SECONDS = 10
COMMAND_SECONDS_MAX = 300
INIT = 'trap "exit 0" TERM; while :; do sleep 1000000 & wait $!; done'
"""The first process. A shell, because it also collects processes that lost their parent."""
UNSHARE = ("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private")
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


class Namespace:
    """The namespaces of one name."""

    def __init__(self, processes: Processes, name: str) -> None:
        self._processes = processes
        self._name = name
        self.pid = 0
        """The first process, seen from this machine."""

    def create(self, deadline: Deadline) -> None:
        """Create the namespaces; return when their first process runs."""
        words = (*UNSHARE, "--", "bash", "-c", INIT, self._name)
        outer = self._processes.start(self._name, words, env={"PATH": PATH}, cwd=root())
        deadline.until(lambda: self._find(outer), START_SECONDS, lambda: f"no namespaces for {self._name}")
        self.run("mount", "--make-rshared", "/")

    def _find(self, outer: int) -> bool:
        for child in Path(f"/proc/{outer}/task/{outer}/children").read_text(encoding="ascii").split():
            words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
            if INIT.encode() in words:
                self.pid = int(child)
        return self.pid != 0

    def inside(self, words: Sequence[str]) -> list[str]:
        """Return the command that runs a program in the namespaces."""
        return ["nsenter", "-t", str(self.pid), "-m", "-n", "-p", "--", *words]

    def run(self, *words: str) -> str:
        """Run a program in the namespaces; return its output, or raise RuntimeError."""
        return run(*self.inside(words))

    def start(self, name: str, words: Sequence[str]) -> None:
        """Start a program in the namespaces, with a log of its own."""
        env = {"PATH": PATH, "HOME": os.environ.get("HOME", "/")}
        self._processes.start(f"{self._name}-{name}", self.inside(words), env=env, cwd=root())


def run(*words: str, stdin: str = "", seconds: float = COMMAND_SECONDS_MAX) -> str:
    """Run a program; return its output, or raise RuntimeError with it."""
    env = os.environ | {"PATH": f"{os.environ.get('PATH', '')}:{PATH}"}
    done = subprocess.run(words, input=stdin, capture_output=True, text=True, env=env, timeout=seconds, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(words)}: {done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done.stdout
