"""Rolls Valkey back by one second, as a power cut does: kills it and truncates its append-only
file.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from sidecart.launcher.servers import valkey

SECONDS = 1.0


def roll_back(data: Path, send: Callable[[signal.Signals], None]) -> int:
    """Note the file's length, wait, pause the server, truncate the file, kill the server; return
    the lost bytes.

    The server is paused during the truncation, so that it cannot write after it, and so that the
    launcher does not restart it too soon. At the next start the server ignores a command that is
    cut in two (`aof-load-truncated`).
    """
    before = _newest(data)
    size = before.stat().st_size
    time.sleep(SECONDS)
    send(signal.SIGSTOP)
    now = _newest(data)
    # the server rewrote the file meanwhile: the new file is less than a second old
    if now != before:
        before, size = now, 0
    lost = before.stat().st_size - size
    os.truncate(before, size)
    send(signal.SIGKILL)
    return lost


def _newest(data: Path) -> Path:
    """Return the file that the server appends to."""
    files = (data / valkey.NAME / "appendonlydir").glob("*.incr.aof")
    return max(files, key=lambda file: int(file.name.split(".")[-3]))
