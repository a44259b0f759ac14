"""podman with its own configuration, storage and networks, separate from the machine's other
containers.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

COMMAND_SECONDS_MAX = 600
COMPOSE = (sys.executable, "-m", "podman_compose", "--podman-build-args=--pull=never --isolation=chroot")
"""podman's compose command; its builds use only images that are there."""
NAMES = Path("/run/containers/networks/aardvark-dns")
"""One file per network; a stale file would give another network's address twice."""

CONTAINERS = """\
[containers]
default_ulimits = ["nofile=10000:10000", "nproc=1000:1000"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
tmp_dir = "{run}/libpod"
[network]
network_backend = "netavark"
network_config_dir = "{storage}/networks"
"""
"""crun fails where it cannot raise the limits, as without systemd; netavark resolves names between
containers.
"""

STORAGE = """\
[storage]
driver = "overlay"
graphroot = "{storage}/graph"
runroot = "{run}/run"
"""

REGISTRIES = """\
unqualified-search-registries = []
short-name-mode = "disabled"
"""


class EngineError(Exception):
    """A command of the engine failed; the message holds its output."""


class Engine:
    """An engine in one fixed folder, because the storage remembers the paths that it was created
    with.
    """

    def __init__(self, folder: Path) -> None:
        storage, run = folder / "storage", folder / "run"
        for folder in (storage, run):
            folder.mkdir(parents=True, exist_ok=True)
        files = {"containers.conf": CONTAINERS, "storage.conf": STORAGE, "registries.conf": REGISTRIES}
        for name, text in files.items():
            (run / name).write_text(text.format(storage=storage, run=run), encoding="utf-8")
        self.environment = os.environ | {
            "CONTAINERS_CONF": str(run / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(run / "storage.conf"),
            "CONTAINERS_REGISTRIES_CONF": str(run / "registries.conf"),
        }

    def podman(self, *words: str) -> str:
        """Run one podman command and return its output; raise EngineError."""
        return self.run(["podman", *words], {})

    def clean(self) -> None:
        """Remove all containers with their volumes, all networks, and the records of their name
        server.
        """
        self.podman("rm", "--all", "--force", "--volumes")
        self.podman("volume", "prune", "--force")
        self.podman("network", "prune", "--force")
        for names in NAMES.glob("sidecart-test-*"):
            names.unlink()

    def compose(self, file: Path, project: str, env: Mapping[str, str], *words: str) -> str:
        """Run one podman-compose command on a file; builds never pull images."""
        return self.run([*COMPOSE, "-f", str(file), "-p", project, *words], env)

    def run(self, command: list[str], env: Mapping[str, str]) -> str:
        """Run a command in the engine's environment; return its output, or raise EngineError."""
        done = subprocess.run(
            command,
            env=self.environment | dict(env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS_MAX,
            check=False,
        )
        if done.returncode != 0:
            raise EngineError(f"{' '.join(command)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
        return done.stdout

    def succeeds(self, *words: str) -> bool:
        """Return whether a podman command succeeds."""
        try:
            self.podman(*words)
        except EngineError:
            return False
        return True
