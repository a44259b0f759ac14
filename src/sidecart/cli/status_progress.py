"""The progress in `sidecart status`: lag, trimming, and flows that do not end."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime

from sidecart.launcher.errors import LaunchError
from sidecart.launcher.gateways import gateways_of
from sidecart.launcher.local_http import get
from sidecart.launcher.permissions import TRIMMER
from sidecart.launcher.runfile import RunFile
from sidecart.launcher.servers.lag import ConsumerLag, KeptEvents
from sidecart.launcher.servers.registry import BROKERS
from sidecart.launcher.topics import app_ids
from sidecart.launcher.topology import app_of, metrics_of, readers
from sidecart.launcher.unfinished import STUCK_SECONDS, Unfinished

METRICS_BYTES_MAX = 1_000_000
PASSED = re.compile(r"^sidecart_trimmer_passed_timestamp_seconds (\S+)$", re.MULTILINE)
BEHIND_SHOWN_MAX = 10
STUCK_SHOWN_MAX = 10
UNTOLD = "the broker does not tell which ones were delivered and not acknowledged"


@dataclass(frozen=True, slots=True)
class SystemProgress:
    """Events that wait, events that are kept, and flows that do not end."""

    consumers: list[ConsumerLag] = field(default_factory=list)
    kept: list[KeptEvents] = field(default_factory=list)
    trimmed_at: str | None = None
    """The last pass of the trimmer without an error; None for a broker that needs none."""
    stuck: list[Unfinished] | None = None
    """None: a gateway does not answer, which its state in the table says, too."""
    problems: list[str] = field(default_factory=list)

    def as_object(self) -> dict[str, object]:
        """Return the value of the JSON output."""
        return asdict(self)

    def lines(self) -> Iterator[str]:
        """Yield the lines of the table; none without a broker that the launcher knows."""
        behind = sorted((each for each in self.consumers if each.late), key=lambda each: -each.late)
        if self.consumers:
            hidden = any(each.unacknowledged is None for each in self.consumers)
            more = f"; {UNTOLD}" if hidden else ""
            late = sum(each.late for each in behind)
            yield f"events that wait: {late}, for {_number(len(behind), 'consumer')}{more}"
        for each in behind[:BEHIND_SHOWN_MAX]:
            taken = f", {each.stalled} of them delivered and not acknowledged" if each.stalled else ""
            age = "" if each.oldest_seconds is None else f", the oldest for {each.oldest_seconds:.0f} s"
            yield f"  {each.consumer} on {each.topic}: {each.late}{taken}{age}"
        if len(behind) > BEHIND_SHOWN_MAX:
            yield f"  and {_number(len(behind) - BEHIND_SHOWN_MAX, 'more consumer')} (--json has all)"
        if self.kept:
            oldest = max(each.oldest_seconds for each in self.kept)
            trimmed = "" if self.trimmed_at is None else f", last trimmed at {self.trimmed_at}"
            yield f"events in streams: {sum(each.entries for each in self.kept)}, the oldest of {oldest:.0f} s{trimmed}"
        if self.stuck:
            yield f"flows without an end after {STUCK_SECONDS:.0f} s: {len(self.stuck)} (./sidecart reconcile)"
            yield from (f"  {each.line()}" for each in self.stuck[:STUCK_SHOWN_MAX])
            if len(self.stuck) > STUCK_SHOWN_MAX:
                yield f"  and {len(self.stuck) - STUCK_SHOWN_MAX} more (./sidecart reconcile --dry-run lists all)"
        yield from (f"warning: {each}" for each in self.problems)


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def progress(system: RunFile) -> SystemProgress:
    """Ask the broker, the trimmer and the gateways of a running system."""
    apps = [name for name in system.processes if app_of(name) in app_ids()]
    found, problems = SystemProgress(), list[str]()
    broker = BROKERS.get(system.broker)
    if broker is not None and not system.components and (address := system.addresses.get(broker.env)):
        try:
            lag = broker.lag(address, list(readers(apps)))
            found = SystemProgress(lag.consumers, lag.kept, _trimmed_at(system))
        except OSError as error:
            problems.append(f"the broker does not tell its lag: {error}")
    try:
        stuck = gateways_of(system).stuck()
    except LaunchError:
        stuck = None
    return SystemProgress(found.consumers, found.kept, found.trimmed_at, stuck, problems)


def _trimmed_at(system: RunFile) -> str | None:
    port = system.ports.get(metrics_of(TRIMMER))
    passed = None if port is None else PASSED.search(get(port, "/metrics", bytes_max=METRICS_BYTES_MAX)[1])
    if passed is None or not float(passed[1]):
        return None
    return datetime.fromtimestamp(min(float(passed[1]), time.time()), UTC).isoformat(timespec="seconds")
