"""What a gateway counts beside what every app does: the requests that it holds, and what became of them."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

COMMANDS = ("UserCreateRequested", "AccountDepositRequested", "OrderCreateRequested")
SECONDS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)  # 30 is the longest wait

_HELD_SECONDS = Histogram("sidecart_held_seconds", "For how long a request was held.", ("command",), buckets=SECONDS)
_PROMISED = Counter("sidecart_promised", "Requests that were answered 202.", ("command",))

HELD_SECONDS = {each: _HELD_SECONDS.labels(each) for each in COMMANDS}
PROMISED = {each: _PROMISED.labels(each) for each in COMMANDS}
LATE_REPLIES = Counter("sidecart_late_replies", "Replies that came when the request had been answered 202.")
HELD = Gauge("sidecart_held_requests", "Requests that are held now.")
PROMISES = Gauge("sidecart_promises_open", "Promises that this gateway carries now.")
