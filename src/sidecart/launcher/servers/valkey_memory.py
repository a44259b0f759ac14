"""The memory of a Redis-compatible server: its limit, and the alarm before it.

A server without a limit ends when the machine has no memory left. A server at its limit evicts no
key (`noeviction`): it refuses writes with an error and answers reads. The chassis handles this as
an outage of the broker and of the store, so nothing is lost.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from sidecart.chassis.settings import whole

SETTING = "VALKEY_MEMORY_MB"
MACHINE_SHARE = 0.5
"""The share of the machine's memory that a server may use by default.

While the server rewrites its append-only file, changed pages exist twice, and the apps need the
rest. A stream of a million events takes up to a gigabyte, so a small fixed limit would stop a
system that runs well.
"""
MEMORY_MB_MIN = 16
"""An empty server takes a few megabytes."""
MEMORY_MB_MAX = 1024 * 1024
ALARM_SHARE = 0.8
"""The used share of the limit from which the launcher warns; the rest gives time to react."""
MB = 1024 * 1024


def memory_mb(environ: Mapping[str, str] = os.environ) -> int:
    """Return the limit for the launcher's own server; raise SettingError for a wrong value."""
    import psutil  # the image of the apps lacks it

    usual = max(MEMORY_MB_MIN, int(psutil.virtual_memory().total * MACHINE_SHARE) // MB)
    return whole(environ, SETTING, MEMORY_MB_MIN, MEMORY_MB_MAX, usual)


def warning(memory: Mapping[str, object]) -> str | None:
    """Return a warning if little memory is left, or None; `memory` is that section of INFO."""
    used, limit = (int(str(memory.get(name, 0))) for name in ("used_memory", "maxmemory"))
    if limit == 0 or used < limit * ALARM_SHARE:
        return None
    return (
        f"valkey uses {used / limit:.0%} of its {limit // MB:,} MB; a full server refuses events and records: "
        f"raise {SETTING}, or maxmemory of your own server"
    )
