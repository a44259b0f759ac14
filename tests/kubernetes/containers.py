"""The containers of a pod, and their processes on this machine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

APP, SIDECAR, SERVER = "app", "daprd", "server"
"""The names of the containers."""


def processes(pod: dict[str, Any], container: str) -> list[int]:
    """Return the processes of a container, seen from this machine; raise OSError if none runs."""
    status = pod["status"]
    every = [*status.get("containerStatuses", []), *status.get("initContainerStatuses", [])]
    ids = [each.get("containerID", "").rpartition("/")[2] for each in every if each["name"] == container]
    found = _in_cgroup(ids[0]) if ids and ids[0] else []
    if not found:
        raise OSError(f"the container {container} does not run")
    return found


def restarts(pod: dict[str, Any], container: str) -> int:
    """Return how often a container was restarted."""
    every = pod["status"].get("containerStatuses", [])
    return sum(int(each["restartCount"]) for each in every if each["name"] == container)


def _in_cgroup(container_id: str) -> list[int]:
    found = []
    for file in Path("/proc").glob("[0-9]*/cgroup"):
        try:
            text = file.read_text(encoding="ascii", errors="replace")
        except OSError:
            continue  # it has ended
        if re.search(rf"/{container_id}$", text, re.MULTILINE):
            found.append(int(file.parent.name))
    return sorted(found)
