"""The metrics of the trimmer: lag and length of each stream, and whether the trimmer works."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import Counter, Gauge, disable_created_metrics

# `_created` would add a series per counter, with no use where a process may restart at any time.
disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no type hint

LENGTH = Gauge("sidecart_stream_entries", "Entries of the stream.", ("topic",))
LAG_ENTRIES = Gauge(
    "sidecart_stream_lag_entries", "Entries from the oldest one that the slowest group still needs.", ("topic",)
)
LAG_SECONDS = Gauge(
    "sidecart_stream_lag_seconds", "Age of the oldest entry that the slowest group still needs.", ("topic",)
)
REMOVED = Counter("sidecart_trimmed_entries", "Entries removed.", ("topic",))
PASSED = Gauge("sidecart_trimmer_passed_timestamp_seconds", "Unix time of the last pass without an error.")
ERRORS = Counter("sidecart_trimmer_errors", "Streams that could not be trimmed.")


def declare(topics: Iterable[str]) -> None:
    """Create the time series of these topics, so that each exists from the start."""
    for topic in topics:
        for series in (LENGTH, LAG_ENTRIES, LAG_SECONDS, REMOVED):
            series.labels(topic)
