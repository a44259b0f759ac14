"""Logs of bounded size: one that has grown too large is copied to its `.1` and emptied, while its writer writes on.

A child writes to a descriptor that the launcher gave it, in append mode, so an emptied file is written from its
beginning (copytruncate). A pipe would need a reader: a child would block, or die of SIGPIPE, when the launcher is gone.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from dataclasses import dataclass, field
from pathlib import Path

LOG_BYTES_MAX = 5 * 1024 * 1024
"""Of a log, and as much again of what came before it: minutes of a flood, months of an ordinary shop."""
LOOK_SECONDS = 1.0
"""Between two looks. A log may exceed its size by what is written meanwhile."""
CHUNK_BYTES = 64 * 1024
TAIL_BYTES = 256 * 1024
"""How much of a log's end is searched for its last lines."""

MARK = b"[sidecart] this log goes on in the newer file; bytes dropped before this line: %d\n"
MARKED = re.compile(rb"\[sidecart\] this log goes on in the newer file; bytes dropped before this line: (\d+)\n")


def older(log: Path) -> Path:
    """The file that holds what came before a log."""
    return log.with_name(f"{log.name}.1")


def rotate(log: Path, bytes_max: int = LOG_BYTES_MAX) -> bool:
    """Empty a log that is larger than allowed, and keep its last bytes beside it; say whether that was done.

    What is written between the end of the copy and the cut is lost: a few lines of a flood. If the disk has no room for
    the copy, the log is emptied without one.
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
                left = bytes_max + CHUNK_BYTES  # a writer that is faster than the copy does not hold it up
                while left > 0 and (chunk := file.read(min(CHUNK_BYTES, left))):
                    copy.write(chunk)
                    left -= len(chunk)
        except OSError:
            keeps_older = False
            with contextlib.suppress(OSError):
                new.unlink()
        # First the cut, then the name: a reader that finds the older file anew begins the log at its beginning.
        file.truncate(0)
    if keeps_older:
        new.replace(older(log))
    return True


class Rotation:
    """Keeps logs within their size from a thread of its own; `end` it when their writers have ended."""

    def __init__(self, bytes_max: int = LOG_BYTES_MAX, look_seconds: float = LOOK_SECONDS) -> None:
        self._bytes_max = bytes_max
        self._look_seconds = look_seconds
        self._logs: set[Path] = set()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, log: Path) -> None:
        """Look after this log, too."""
        self._logs.add(log)
        if self._thread is None:
            self._ended.clear()
            self._thread = threading.Thread(target=self._look, name="rotation", daemon=True)
            self._thread.start()

    def end(self) -> None:
        """Look a last time, and no more."""
        if self._thread is not None:
            self._ended.set()
            self._thread.join()
            self._thread = None

    def _look(self) -> None:
        last = False
        while not last:
            last = self._ended.wait(self._look_seconds)
            for log in tuple(self._logs):
                with contextlib.suppress(OSError):  # removed by `reset`; or the disk is full, and the next look may do
                    rotate(log, self._bytes_max)


def last_lines(log: Path, count: int) -> list[str]:
    """The end of a log, and of what came before it in the same run if the log has just been emptied."""
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
    """Reads a log on from a position, over rotations and new starts."""

    log: Path
    position: int = 0
    _older: tuple[int, int] | None = field(init=False)
    _was_cut: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self._older = _identity(older(self.log))

    def read(self) -> bytes:
        """What was added since the last time, up to the last whole line."""
        found = b""
        if (now := _identity(older(self.log))) != self._older:
            found, self._older, self.position = self._rest_of_older(), now, 0
        size = self.log.stat().st_size if self.log.exists() else 0
        if size < self.position:
            # Emptied, and the older file gets its name in a moment; if it does not, there is none.
            if not self._was_cut:
                self._was_cut = True
                return found
            self.position = 0
        self._was_cut = False
        if size > self.position:
            with self.log.open("rb") as opened:
                opened.seek(self.position)
                content = opened.read()
            whole = content[: content.rfind(b"\n") + 1]
            self.position += len(whole)
            found += whole
        return found

    def _rest_of_older(self) -> bytes:
        try:
            with older(self.log).open("rb") as opened:
                marked = MARKED.match(opened.readline(len(MARK) + 20))
                if marked is None:  # the log of the run before, whole
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
