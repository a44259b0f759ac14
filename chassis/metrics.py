"""What an app counts. Labels are of what was registered at the start, never of what comes in: series are bounded.

Counting goes on whether anybody looks or not; the series of a label is looked up once, where that is done per event.
"""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import Counter, disable_created_metrics

OTHER = "other"  # a path or topic that nobody has registered
DONE, DEAD, AGAIN, BUG = "done", "dead_letter", "again", "bug"
OUTCOMES = (DONE, DEAD, AGAIN, BUG)

# A second series for each, of no use where a process may start again at any time.
disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no hint for it

REQUESTS = Counter("sidecart_requests", "Requests that were answered, by route and status.", ("path", "status"))
EVENTS = Counter("sidecart_events", "Events that were brought, by what became of them.", ("topic", "outcome"))
REPEATED = Counter(
    "sidecart_repeated_events", "Events that led to nothing new: what was said is said again.", ("topic",)
)
CONFLICTS = Counter("sidecart_conflicts", "Saves that were refused, for somebody else had saved the record first.")
DEAD_LETTERS = Counter("sidecart_dead_letters", "Dead letters that were written.", ("topic",))


class _Requests:
    """The series of the answers that were given: the routes of an app times the statuses that it gives."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], Counter] = {}

    def answered(self, path: str, status: int) -> None:
        """Count one answer of a route."""
        series = self._known.get((path, status))
        if series is None:
            series = self._known[path, status] = REQUESTS.labels(path, str(status))
        series.inc()


answered = _Requests().answered


def outcomes(topic: str) -> Mapping[str, Counter]:
    """The series of a topic by outcome, each of them at 0 from now on."""
    DEAD_LETTERS.labels(topic)
    return {outcome: EVENTS.labels(topic, outcome) for outcome in OUTCOMES}
