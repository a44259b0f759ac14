"""The report of a soak: its table, and the verdict on what must be flat."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from bench.soak_samples import MIB, Soak
from sidecart.launcher.servers.registry import STORES
from sidecart.launcher.topics import app_ids
from sidecart.launcher.topology import sidecar_of

GROWTH_MAX = 0.05
"""The growth of a process that holds no records."""
EVENTS_MAX, EVENTS_NOISE = 0.1, 100
"""The growth of the events that the broker keeps; a few always are under way."""
SERVER_FACTOR = 2.0
"""The growth of the memory of the store's server, in growths of the records.

The records are kept forever, so a server that holds them grows with the orders. It needs more than
their bytes for its tables and for memory that it cannot use again at once.
"""
DISK_FACTOR = 4.0
"""The growth of the disk space, in growths of the records.

During a rewrite of an append-only file, the old file, the new file and the writes since then exist
together. PostgreSQL keeps records, their indexes and the log of their changes.
"""
STATE_GROWTH_MAX = 0.1
"""The growth of the bytes of an order, from the first to the second half."""


@dataclass(frozen=True, slots=True)
class Check:
    """One value that must not exceed its limit."""

    name: str
    value: float
    limit: float
    unit: str

    @property
    def is_flat(self) -> bool:
        """Whether the value is within its limit."""
        return self.value <= self.limit

    @property
    def row(self) -> str:
        """The check as a row of a Markdown table."""
        cells = (self.name, _number(self.value, self.unit), _number(self.limit, self.unit))
        return f"| {' | '.join(cells)} | {'flat' if self.is_flat else 'GROWS'} |"


def _number(value: float, unit: str) -> str:
    return f"{100 * value:.1f} %" if unit == "%" else f"{value:,.0f} {unit}"


def checks(soak: Soak) -> list[Check]:
    """Return what must be flat, with the limits."""
    per_order = soak.bytes_per_order(-1)
    server = STORES[soak.store].names[0]
    ours = {name for app_id in app_ids() for name in (app_id, sidecar_of(app_id))}
    # the mail catcher keeps mails, which are outside of the system
    measured = [name for name in soak.growth if name not in (server, "mail")]
    found = [
        Check(f"memory of {name}", soak.growth[name], GROWTH_MAX, "%")
        for name in sorted(measured, key=lambda each: (each not in ours, each))
    ]
    orders = max(1.0, soak.orders_in_a_quarter)
    records = f"bytes for each order, of which the records are {per_order:,.0f}"
    memory = soak.grown_mib(server) * MIB / orders
    disk = (soak.data_bytes(4) - soak.data_bytes(3)) / orders
    events = soak.events(3)
    return [
        *found,
        Check(f"memory of {server}, {records}", memory, SERVER_FACTOR * per_order, "B"),
        Check(f"disk, {records}", disk, DISK_FACTOR * per_order, "B"),
        Check("events kept", soak.events(4) - events, max(EVENTS_MAX * events, EVENTS_NOISE), "events"),
        Check("bytes of an order's records", per_order / soak.bytes_per_order(1) - 1, STATE_GROWTH_MAX, "%"),
    ]


def growing(soak: Soak) -> list[str]:
    """Return the names of the checks that failed."""
    return [each.name for each in checks(soak) if not each.is_flat]


def table(soak: Soak) -> str:
    """Return Markdown: the verdict, memory at start, middle and end, then disk, events, records."""
    lines = [
        f"{soak.broker} and {soak.store}, {soak.per_second:g} orders a second for {soak.minutes:g} minutes, "
        f"acknowledged events kept for {soak.retention_seconds} s: {dict(soak.statuses)}",
        "",
        "| growth from the third to the fourth quarter | | limit | |",
        "|---|---|---|---|",
        *(each.row for each in checks(soak)),
        "",
        "| | at the start | in the middle | at the end |",
        "|---|---|---|---|",
    ]
    third = max(1, len(soak.memory) // 10)
    parts = (soak.memory[:third], soak.memory[len(soak.memory) // 2 :][:third], soak.memory[-third:])
    lines += [
        _row(f"MiB of {name}", [f"{statistics.median(mib[name] for _, mib in part):.0f}" for part in parts])
        for name in soak.memory[-1][1]
    ]
    lines.append(_row("orders answered", [str(each.orders) for each in soak.records]))
    per_order = [f"{soak.bytes_per_order(number):.0f}" for number in (1, 2)]
    lines.append(_row("bytes of records for each order", ["", *per_order]))
    stored = [soak.stored[number] for number in (0, len(soak.stored) // 2, -1)]
    lines.append(_row("MiB of the data folder", [f"{each.data_bytes / MIB:.0f}" for each in stored]))
    lines.append(
        _row(
            "the most MiB, by quarter",
            [" / ".join(f"{soak.data_bytes(each) / MIB:.0f}" for each in (1, 2, 3, 4)), "", ""],
        )
    )
    lines.append(_row("events kept", [str(sum(each.lengths.values())) for each in stored]))
    for name in sorted({name for each in stored for name in each.lengths}):
        numbers = [each.lengths.get(name, 0) for each in stored]
        if any(numbers):
            lines.append(_row(f"events kept: {name}", [str(each) for each in numbers]))
    return "\n".join(lines)


def _row(name: str, cells: Sequence[str]) -> str:
    return f"| {name} | {' | '.join(cells)} |"
