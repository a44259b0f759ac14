"""The reachability of the mail server: a circuit breaker that probes an unreachable server."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from services.notification.mail.outcome import Outcome

# The delay of the first probe after a failed connection; it doubles with each further failure.
PROBE_PAUSE = timedelta(seconds=1)
PROBE_PAUSE_MAX = timedelta(seconds=30)


class Reachability:
    """A circuit breaker for the mail server.

    After a failure only one mail at a time probes the server, with exponential backoff. Any reply
    of the server closes the circuit.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self.failures = 0
        """The number of failures since the last reply; 0 while the server is reachable."""
        self._failed_at = self._next = now()

    def may_try(self) -> bool:
        """Return whether a session may begin now; after a failure only a due probe may."""
        now = self._now()
        if self.failures and now < self._next:
            return False
        self._next = now + self._pause
        return True

    @property
    def until_next_probe(self) -> timedelta:
        """The time until the next probe is due; zero while the server is reachable."""
        return max(self._next - self._now(), timedelta()) if self.failures else timedelta()

    def learn(self, outcome: Outcome, started_at: datetime) -> None:
        """Learn from the outcome of a session that began at this time."""
        if outcome == "unreachable":
            self.failed(started_at)
        elif outcome in ("sent", "deferred", "refused"):
            self.failures = 0

    def failed(self, started_at: datetime) -> None:
        """Record that a session could not reach the server; parallel failures count once."""
        if self.failures and started_at < self._failed_at:
            return
        self.failures += 1
        self._failed_at = self._now()
        self._next = self._failed_at + self._pause

    @property
    def _pause(self) -> timedelta:
        return min(PROBE_PAUSE * 2.0 ** min(max(self.failures - 1, 0), 10), PROBE_PAUSE_MAX)
