"""CPU time and resident memory of processes with their children; of this process alone."""

import os
from collections.abc import Mapping

import psutil


def _family(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *(process.children(recursive=True) if pid != os.getpid() else ())]


def cpu_seconds(processes: Mapping[str, int]) -> dict[str, float]:
    """Return user and system time so far in seconds, by name."""
    return {name: sum(sum(each.cpu_times()[:2]) for each in _family(pid)) for name, pid in sorted(processes.items())}


def resident_mib(processes: Mapping[str, int]) -> dict[str, float]:
    """Return resident memory in MiB, by name."""
    return {
        name: sum(each.memory_info().rss for each in _family(pid)) / 2**20 for name, pid in sorted(processes.items())
    }


def spent(before: Mapping[str, float], after: Mapping[str, float], times: int) -> dict[str, float]:
    """Return the CPU time per unit of work (`times` units) in milliseconds, by name."""
    return {name: (after[name] - before[name]) * 1000 / times for name in before}
