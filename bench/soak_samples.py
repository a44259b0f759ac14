"""The samples of a soak: memory, disk, events and records, and what they grew by after the warm-up.

Growth is the difference between the third and the fourth quarter of the time. The first half is the
warm-up: caches fill, and the servers make their first checkpoints.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import psutil

MIB = 2**20


@dataclass(slots=True)
class Stored:
    """One sample of what the servers keep."""

    seconds: float
    orders: int
    lengths: dict[str, int]
    data_bytes: int
    """The disk space of the data folder, without the mails, which are outside."""


@dataclass(slots=True)
class Records:
    """One sample of the records of all apps."""

    seconds: float
    orders: int
    state_bytes: int


@dataclass(slots=True)
class Soak:
    """The samples and the statuses of one soak test."""

    broker: str
    store: str
    per_second: float
    minutes: float
    retention_seconds: int = 60
    statuses: dict[int, int] = field(default_factory=Counter)
    memory: list[tuple[float, dict[str, float]]] = field(default_factory=list)
    stored: list[Stored] = field(default_factory=list)
    records: list[Records] = field(default_factory=list)

    @property
    def end(self) -> float:
        """The time of the last sample of memory."""
        return self.memory[-1][0]

    @property
    def growth(self) -> dict[str, float]:
        """By process: the growth of its memory as a fraction."""
        grown = {name: self.grown_mib(name) for name in self.memory[-1][1]}
        return {name: mib / (self.memory_mib(name, 3) or 1) for name, mib in grown.items()}

    def memory_mib(self, name: str, quarter: int) -> float:
        """Return the median memory of a process in a quarter of the time (1 to 4)."""
        return statistics.median(mib[name] for seconds, mib in self.memory if self._is_in(quarter, seconds))

    def grown_mib(self, name: str) -> float:
        """Return the growth of the memory of a process."""
        return self.memory_mib(name, 4) - self.memory_mib(name, 3)

    def events(self, quarter: int) -> float:
        """Return the mean number of events that the broker keeps in a quarter of the time."""
        found = [sum(each.lengths.values()) for each in self.stored if self._is_in(quarter, each.seconds)]
        return statistics.mean(found)

    def data_bytes(self, quarter: int) -> int:
        """Return the most disk space in a quarter of the time.

        The space of an append-only file or of a write-ahead log rises, and falls when the server
        rewrites or removes it.
        """
        return max(each.data_bytes for each in self.stored if self._is_in(quarter, each.seconds))

    @property
    def orders_in_a_quarter(self) -> float:
        """The number of orders between the middles of two quarters."""
        return (self.records[-1].orders - self.records[0].orders) / 4

    def bytes_per_order(self, number: int) -> float:
        """Return the bytes of state per order from the first sample to the one with this index."""
        first, later = self.records[0], self.records[number]
        return (later.state_bytes - first.state_bytes) / max(1, later.orders - first.orders)

    def _is_in(self, quarter: int, seconds: float) -> bool:
        return (quarter - 1) * self.end / 4 <= seconds <= quarter * self.end / 4


def write(soak: Soak, path: Path) -> None:
    """Write all samples to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.encode(soak))


def read(path: Path) -> Soak:
    """Read what `write` has written."""
    return msgspec.json.decode(path.read_bytes(), type=Soak)


def disk_bytes(folder: Path, without: str) -> int:
    """Return the disk space of all files below a folder, without files of the name `without`."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # a server has removed it
            if path.is_file() and path.name != without:
                total += path.stat().st_blocks * 512
    return total


def family_mib(processes: Mapping[str, int]) -> dict[str, float]:
    """Return the resident memory of processes with their children in MiB.

    Of the pages that a family shares, those of one process count, so the shared buffers of
    PostgreSQL count once.
    """
    found = {}
    for name, pid in sorted(processes.items()):
        own, shared = 0, 0
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            for each in (process, *process.children(recursive=True)):
                with suppress(psutil.NoSuchProcess):
                    memory = each.memory_full_info()
                    own, shared = own + memory.uss, max(shared, memory.rss - memory.uss)
        found[name] = round((own + shared) / MIB, 2)
    return found
