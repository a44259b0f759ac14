"""Waits until a system is at rest: all results exist, the broker is empty, and nothing changes."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import httpx

from sidecart.launcher.lifecycle.system import System
from sidecart.launcher.topology import readers
from sidecart.testkit.contents import Backlog, backlog
from sidecart.testkit.faults.bookkeeping import Bookkeeping, Missing
from sidecart.testkit.faults.ledger import Ledger
from sidecart.testkit.faults.reader import Poll, Reader

# the system is at rest when its broker is empty and nothing changed for this long
QUIET_SECONDS = 5.0
# the same while results are missing: the component that repairs them may still retry
OPEN_QUIET_SECONDS = 120.0
# beside the time above; RabbitMQ takes less to redeliver an event that a sidecar lost
BUSY_SECONDS_MAX = 300.0
LOOK_SECONDS = 1.0
POLL_SECONDS = 0.1


class Rest:
    """Observes one system after its load."""

    def __init__(
        self,
        system: System,
        ledger: Ledger,
        bookkeeping: Bookkeeping,
        reader: Reader,
        poll: Poll,
        waiting: Callable[[], list[Backlog]] | None = None,
    ) -> None:
        """Observe; `waiting` reads the backlog of a broker that the launcher does not run."""
        self._system = system
        self._waiting = waiting or partial(backlog, system)
        self._ledger = ledger
        self._bookkeeping = bookkeeping
        self._reader = reader
        self._poll = poll
        self._final: set[str] = set()
        """Keys of the requests whose final result was seen."""
        self._followed: set[str] = set()
        """Keys of the requests whose results in all services were seen."""

    def wait(self, open_quiet_seconds: float = OPEN_QUIET_SECONDS) -> float:
        """Wait until the system is at rest; return the seconds.

        With missing results it is at rest when nothing changed for `open_quiet_seconds`. A system
        that does not come to rest in time is audited as it is.
        """
        started = quiet_since = time.monotonic()
        before: Any = None
        while time.monotonic() - started < BUSY_SECONDS_MAX + open_quiet_seconds:
            state = self.counters()
            still_open, backlog = state[0], state[1]
            now = time.monotonic()
            if state != before or backlog:
                before, quiet_since = state, now
            elif now - quiet_since >= (open_quiet_seconds if still_open else QUIET_SECONDS):
                break
            for _ in range(int(LOOK_SECONDS / POLL_SECONDS)):
                self._poll()
                time.sleep(POLL_SECONDS)
        return time.monotonic() - started

    def counters(self) -> tuple[int, int, int]:
        """Return the numbers of missing results, of events in the broker, and of side effects."""
        try:
            backlog = sum(each.undelivered + each.pending for each in self.backlog())
            seen = {each.id for each in self._bookkeeping.side_effects()}
        except (OSError, httpx.HTTPError):
            return -1, 1, 0
        accepted = [each for each in self._ledger.intents.values() if each.accepted]
        for each, answer in self._reader.read_all([each for each in accepted if each.key not in self._final]):
            if self._bookkeeping.is_final(each, answer):
                self._final.add(each.key)
        finished = [each for each in accepted if each.key in self._final]
        wanted = [self._bookkeeping.side_effect_of(each) for each in finished]
        without = sum(each is not None and each not in seen for each in wanted)
        try:
            not_followed = len(self.missing())
        except httpx.HTTPError:
            return -1, 1, len(seen)
        return len(accepted) - len(self._final) + without + not_followed, backlog, len(seen)

    def missing(self) -> list[Missing]:
        """Return the missing results of accepted requests; a request with all results is not read
        again.
        """
        queried = [each for each in self._ledger.intents.values() if each.accepted and each.key not in self._followed]
        found = list(self._bookkeeping.missing(queried))
        self._followed |= {each.key for each in queried} - {each.intent.key for each in found}
        return found

    def backlog(self) -> list[Backlog]:
        """Return the backlog of each consumer of this system; raise OSError without the broker."""
        ours = {one.consumer_id for one in readers(self._system.replicas, addressed=self._system.is_addressed)}
        return [each for each in self._waiting() if each.consumer in ours]
