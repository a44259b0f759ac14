"""The free space that the test cluster needs: on a full disk its nodes evict every pod."""

from __future__ import annotations

import shutil
from pathlib import Path

GIB = 1024**3
FREE_MIN = 3 * GIB
"""For images, logs and the data of the servers."""
FREE_SHARE_MIN = 0.02
"""The kubelets of the cluster evict pods at 1 % (node.py)."""


def problem(folder: Path) -> str | None:
    """Return why a folder's disk cannot hold the cluster, or None."""
    disk = shutil.disk_usage(folder)
    needed = max(FREE_MIN, int(disk.total * FREE_SHARE_MIN))
    if disk.free >= needed:
        return None
    return (
        f"the disk of {folder} has {disk.free / GIB:.1f} GiB free; the test cluster needs {needed / GIB:.1f} GiB, and "
        "20 GiB more for its first build: with less, its nodes evict every pod"
    )
