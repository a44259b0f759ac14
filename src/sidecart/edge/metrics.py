"""The metrics of a gateway, in addition to those of every app: held requests and flows."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import Counter, Gauge, Histogram

# Histogram buckets; 30 s is the longest wait.
SECONDS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

HELD_SECONDS = Histogram("sidecart_held_seconds", "Seconds that a request was held.", ("command",), buckets=SECONDS)
ACCEPTED = Counter("sidecart_accepted", "Requests answered with 202.", ("command",))

LATE_REPLIES = Counter("sidecart_late_replies", "Replies that arrived after the request was answered with 202.")
HELD = Gauge("sidecart_held_requests", "Requests held now.")

HEALED = Counter("sidecart_healed_flows", "Accepted commands whose flow ended after a repetition.", ("kind",))
REPEATED_COMMANDS = Counter("sidecart_repeated_commands", "Commands that the reconciler published again.", ("kind",))
ABANDONED = Counter("sidecart_abandoned_flows", "Accepted commands abandoned: not ended after 7 days.", ("kind",))
UNFINISHED = Gauge("sidecart_unfinished_flows", "Accepted commands whose flow has not ended.")
STUCK = Gauge("sidecart_stuck_flows", "Accepted commands whose flow had not ended when checked.")
PENDING_COMMANDS = Gauge("sidecart_pending_commands", "Pending commands of this gateway now.")


def declare(commands: Iterable[str], flows: Iterable[str]) -> None:
    """Create the time series of these commands and flows, so that each exists from the start."""
    for topic in commands:
        HELD_SECONDS.labels(topic)
        ACCEPTED.labels(topic)
    for kind in flows:
        for counter in (HEALED, REPEATED_COMMANDS, ABANDONED):
            counter.labels(kind)
