"""Limits the size of logs by copying a large log to its `.1` file and truncating it.

A child writes in append mode to a descriptor from the launcher, so it continues at the start of the
truncated file (copytruncate). A pipe would need a reader: the child would block, or die of SIGPIPE,
after the launcher's death.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from dataclasses import dataclass, field
from pathlib import Path

LOG_BYTES_MAX = 5 * 1024 * 1024
"""The limit of a log and of its older file each: minutes of a flood, months of ordinary use."""
LOOK_SECONDS = 1.0
"""The interval between two checks. A log may exceed its limit by the lines of one interval."""
CHUNK_BYTES = 64 * 1024
TAIL_BYTES = 256 * 1024
"""How much of a log's end is searched for its last lines."""

MARK = b"[sidecart] this log continues in the newer file; bytes dropped before this line: %d\n"
MARKED = re.compile(rb"\[sidecart\] this log continues in the newer file; bytes dropped before this line: (\d+)\n")


def older(log: Path) -> Path:
    """Return the path of the older file of a log."""
    return log.with_name(f"{log.name}.1")


def rotate(log: Path, bytes_max: int = LOG_BYTES_MAX) -> bool:
    """Truncate a log that exceeds the limit; return whether it did.

    The last bytes move to the older file. Lines that arrive between the end of the copy and the
    truncation are lost: a few lines of a flood. If the disk has no room for the copy, the log is
    truncated without one.
    """
    with log.open("r+b") as file:
        size = os.fstat(file.fileno()).st_size
        if size <= bytes_max:
            return False
        dropped = size - bytes_max
        file.seek(dropped)
        new = log.with_name(f"{log.name}.new")
        keeps_older = True
        try:
            with new.open("wb") as copy:
                copy.write(MARK % dropped)
                # the limit stops the copy of a log that grows faster than the copy
                left = bytes_max + CHUNK_BYTES
                while left > 0 and (chunk := file.read(min(CHUNK_BYTES, left))):
                    copy.write(chunk)
                    left -= len(chunk)
        except OSError:
            keeps_older = False
            with contextlib.suppress(OSError):
                new.unlink()
        # Truncate first, then rename: a reader that sees a new older file starts the log at its
        # beginning.
        file.truncate(0)
    if keeps_older:
        new.replace(older(log))
    return True


class Rotation:
    """Limits logs from a background thread; call `end` when their writers have ended."""

    def __init__(self, bytes_max: int = LOG_BYTES_MAX, look_seconds: float = LOOK_SECONDS) -> None:
        self._bytes_max = bytes_max
        self._look_seconds = look_seconds
        self._logs: set[Path] = set()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, log: Path) -> None:
        """Add a log to check."""
        self._logs.add(log)
        if self._thread is None:
            self._ended.clear()
            self._thread = threading.Thread(target=self._look, name="rotation", daemon=True)
            self._thread.start()

    def end(self) -> None:
        """Check the logs once more and stop the thread."""
        if self._thread is not None:
            self._ended.set()
            self._thread.join()
            self._thread = None

    def _look(self) -> None:
        last = False
        while not last:
            last = self._ended.wait(self._look_seconds)
            for log in tuple(self._logs):
                # `reset` removed the log; or the disk is full, and the next check may succeed
                with contextlib.suppress(OSError):
                    rotate(log, self._bytes_max)


def last_lines(log: Path, count: int) -> list[str]:
    """Return the last lines of a log.

    They include the end of the older file if the log was just truncated in the same run.
    """
    lines = _end(log).splitlines()
    if len(lines) < count and MARKED.match(_beginning(older(log))):
        lines = [line for line in _end(older(log)).splitlines() if not MARKED.match(line + b"\n")] + lines
    return [line.decode(errors="replace") for line in lines[len(lines) - min(count, len(lines)) :]]


def _end(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            opened.seek(max(0, os.fstat(opened.fileno()).st_size - TAIL_BYTES))
            return opened.read()
    except FileNotFoundError:
        return b""


def _beginning(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.readline(len(MARK) + 20)
    except FileNotFoundError:
        return b""


@dataclass(slots=True)
class Follower:
    """Reads a log from a position, across rotations and restarts."""

    log: Path
    position: int = 0
    _older: tuple[int, int] | None = field(init=False)
    _was_cut: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self._older = _identity(older(self.log))

    def read(self) -> bytes:
        """Return the bytes added since the last call, up to the last complete line."""
        found = b""
        if (now := _identity(older(self.log))) != self._older:
            found, self._older, self.position = self._rest_of_older(), now, 0
        size = self.log.stat().st_size if self.log.exists() else 0
        if size < self.position:
            # The log was truncated, and the older file is about to appear; if it does not, there is
            # none.
            if not self._was_cut:
                self._was_cut = True
                return found
            self.position = 0
        self._was_cut = False
        if size > self.position:
            with self.log.open("rb") as opened:
                opened.seek(self.position)
                content = opened.read()
            complete = content[: content.rfind(b"\n") + 1]
            self.position += len(complete)
            found += complete
        return found

    def _rest_of_older(self) -> bytes:
        try:
            with older(self.log).open("rb") as opened:
                marked = MARKED.match(opened.readline(len(MARK) + 20))
                if marked is None:  # the complete log of the previous run
                    opened.seek(self.position)
                else:
                    opened.seek(marked.end() + max(0, self.position - int(marked[1])))
                return opened.read()
        except FileNotFoundError:
            return b""


def _identity(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns
