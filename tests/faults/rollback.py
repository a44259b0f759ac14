"""Valkey loses its last second, as in a power cut: it is killed, and its append-only file ends a second earlier."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from cli.servers import valkey

SECONDS = 1.0


def roll_back(data: Path, send: Callable[[signal.Signals], None]) -> int:
    """Note how long the file is, wait, stop the server, cut the file back, kill it; returns how many bytes it lost.

    It is paused when its file is cut, so that it writes nothing after it and nothing starts it again too soon. A
    command that is cut in two is left out at the next start (`aof-load-truncated`).
    """
    before = _newest(data)
    size = before.stat().st_size
    time.sleep(SECONDS)
    send(signal.SIGSTOP)
    now = _newest(data)
    if now != before:  # it was written anew meanwhile: the new file began less than a second ago
        before, size = now, 0
    lost = before.stat().st_size - size
    os.truncate(before, size)
    send(signal.SIGKILL)
    return lost


def _newest(data: Path) -> Path:
    """The file that the server appends to."""
    files = (data / valkey.NAME / "appendonlydir").glob("*.incr.aof")
    return max(files, key=lambda file: int(file.name.split(".")[-3]))
