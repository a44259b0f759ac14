"""The report of a run, as a file and as tables."""

from __future__ import annotations

import json
import platform
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sidecart.launcher.errors import LaunchError
from sidecart.testkit.faults.audit import Audit
from sidecart.testkit.faults.effects import Effect


@dataclass(slots=True)
class Report:
    """The results of one run."""

    broker: str
    store: str
    seed: int
    seconds: float
    faults: int
    effects: dict[str, Effect]
    broken_calls: dict[str, int]
    restarts: int
    audit: Audit
    kind: str = "kills"
    gateways: int = 1
    short: bool = False
    swallowed: dict[str, int] = field(default_factory=dict)
    """Dropped publishes, by topic."""
    machine: str = field(default_factory=lambda: f"{platform.machine()}, Python {platform.python_version()}")

    def write(self, folder: Path) -> Path:
        """Write the report as JSON, with a file name per kind, broker, store, seed and number of
        gateways; return the path.
        """
        folder.mkdir(parents=True, exist_ok=True)
        form = "-short" if self.short else ""
        form += f"-gateways-{self.gateways}" if self.gateways > 1 else ""
        path = folder / f"{self.kind}-{self.broker}-{self.store}-{self.seed}{form}.json"
        path.write_text(json.dumps(asdict(self), indent=2), encoding="utf-8")
        return path

    @classmethod
    def read(cls, path: Path) -> Report:
        """Read a report that write() has written; raise LaunchError for one of another version."""
        fields = json.loads(path.read_text(encoding="utf-8"))
        try:
            fields["audit"] = Audit(**fields["audit"])
            fields["effects"] = {name: Effect(**each) for name, each in fields["effects"].items()}
            return cls(**fields)
        except TypeError as error:
            raise LaunchError(f"{path} is of another version: delete it") from error


def table(reports: Sequence[Report]) -> str:
    """Return one row per run, in Markdown, with the counts of the project's bookkeeping."""
    counts = list(dict.fromkeys(name for each in reports for name in each.audit.counts))
    head = (
        "kind, broker, store, seed",
        "faults",
        "requests",
        "accepted",
        "201 / 202",
        "lost",
        *counts,
        "repeats",
        "dead letters",
        "recovery p50 / max (s)",
        "rest (s)",
    )
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for each in reports:
        audit = each.audit
        times = sorted(seconds for one in each.effects.values() for seconds in one.recovery_seconds) or [0.0]
        cells: tuple[Any, ...] = (
            f"{each.kind}, {each.broker}, {each.store}, {each.seed}{_gateways(each)}",
            each.faults + sum(each.swallowed.values()),
            audit.valid,
            f"{100 * audit.accepted / max(1, audit.valid):.1f} %",
            f"{audit.created} / {audit.pending}",
            audit.lost,
            *(audit.counts.get(name, "") for name in counts),
            audit.repeats,
            audit.dead_letters,
            f"{statistics.median(times):.1f} / {times[-1]:.1f}",
            f"{audit.rest_seconds:.0f}",
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def _gateways(report: Report) -> str:
    return f", {report.gateways} gateways" if report.gateways > 1 else ""


def fault_table(reports: Sequence[Report]) -> str:
    """Return one Markdown row per kind of fault, broker and store, over all seeds."""
    lines = [
        "| fault | broker, store | times | requests held | recovery p50 / max (s) | repeats | lost |",
        "|---|---|---|---|---|---|---|",
    ]
    merged: dict[tuple[str, str], list[Effect]] = defaultdict(list)
    for report in reports:
        for name, effect in report.effects.items():
            merged[name, f"{report.broker}, {report.store}"].append(effect)
    for (name, where), found in sorted(merged.items()):
        times = sorted(seconds for effect in found for seconds in effect.recovery_seconds) or [0.0]
        cells = (
            name,
            where,
            sum(effect.times for effect in found),
            sum(effect.held for effect in found),
            f"{statistics.median(times):.1f} / {times[-1]:.1f}",
            sum(effect.repeats for effect in found),
            sum(effect.lost for effect in found),
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)
