"""The metrics of a gateway, in addition to those of every app: held requests and flows."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

COMMANDS = ("UserCreateRequested", "AccountDepositRequested", "OrderCreateRequested")
# Histogram buckets; 30 s is the longest wait.
SECONDS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

_HELD_SECONDS = Histogram("sidecart_held_seconds", "Seconds that a request was held.", ("command",), buckets=SECONDS)
_ACCEPTED = Counter("sidecart_accepted", "Requests answered with 202.", ("command",))

HELD_SECONDS = {each: _HELD_SECONDS.labels(each) for each in COMMANDS}
ACCEPTED = {each: _ACCEPTED.labels(each) for each in COMMANDS}
LATE_REPLIES = Counter("sidecart_late_replies", "Replies that arrived after the request was answered with 202.")
HELD = Gauge("sidecart_held_requests", "Requests held now.")
FLOWS = ("user", "order")

_HEALED = Counter("sidecart_healed_flows", "Accepted commands whose flow ended after a repetition.", ("kind",))
_REPEATED = Counter("sidecart_repeated_commands", "Commands that the reconciler published again.", ("kind",))
_ABANDONED = Counter("sidecart_abandoned_flows", "Accepted commands abandoned: not ended after 7 days.", ("kind",))
HEALED = {each: _HEALED.labels(each) for each in FLOWS}
REPEATED_COMMANDS = {each: _REPEATED.labels(each) for each in FLOWS}
ABANDONED = {each: _ABANDONED.labels(each) for each in FLOWS}
UNFINISHED = Gauge("sidecart_unfinished_flows", "Accepted commands whose flow has not ended.")
STUCK = Gauge("sidecart_stuck_flows", "Accepted commands whose flow had not ended when checked.")
PENDING_COMMANDS = Gauge("sidecart_pending_commands", "Pending commands of this gateway now.")
