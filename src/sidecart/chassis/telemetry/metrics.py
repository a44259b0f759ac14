"""The metrics of an app.

Labels come from routes and topics that are registered at startup, never from input, so that the
number of series is bounded. Counters run whether or not the metrics are scraped. Code that counts
per event looks up its series once.
"""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import Counter, disable_created_metrics

OTHER = "other"  # a path or topic that is not registered
DONE, DEAD, AGAIN, BUG = "done", "dead_letter", "again", "bug"
OUTCOMES = (DONE, DEAD, AGAIN, BUG)

# `_created` would add a series per counter, with no use where a process may restart at any time.
disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no type hint

REQUESTS = Counter("sidecart_requests", "Requests answered, by route and status.", ("path", "status"))
EVENTS = Counter("sidecart_events", "Events delivered to the app, by outcome.", ("topic", "outcome"))
REPEATED = Counter(
    "sidecart_repeated_events", "Events that changed nothing: their outputs are published again.", ("topic",)
)
CONFLICTS = Counter("sidecart_conflicts", "Saves refused because another process had saved the record first.")
DEAD_LETTERS = Counter("sidecart_dead_letters", "Dead letters written.", ("topic",))


class _Answered(dict[tuple[str, int], Counter]):
    """The series of answered requests by route and status, each created at its first use."""

    def __missing__(self, key: tuple[str, int]) -> Counter:
        path, status = key
        series = self[key] = REQUESTS.labels(path, str(status))
        return series


ANSWERED = _Answered()


def outcomes(topic: str) -> Mapping[str, Counter]:
    """Return the series of a topic by outcome.

    Each of them is exported from now on, starting at 0.
    """
    DEAD_LETTERS.labels(topic)
    return {outcome: EVENTS.labels(topic, outcome) for outcome in OUTCOMES}
