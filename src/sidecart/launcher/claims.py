"""The right of one run to act on a dead letter, so that two runs never act on the same one.

A replay writes the number of its run into the dead letter, together with the status `replaying`.
Another run leaves it alone until the first one has ended, or has held it for HELD_SECONDS_MAX: its
process was killed.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from sidecart.chassis.audit_trail import BEGUN
from sidecart.chassis.dead_letters import ERASED, OPEN, REPLAYING
from sidecart.launcher.audit import newest_entries
from sidecart.launcher.dead_letters import DeadLetter, Outcome, State

RUN = "replay_run"
"""The field of a dead letter with the run that replays it, or has replayed it."""
HELD_SECONDS_MAX = 300.0
"""How long a run can need for the dead letters that it reads at once: 20 waits of 15 s."""
CONFLICT: Outcome = "conflict"
ANOTHER_RUN: Outcome = "another run"


class Run:
    """A run of an operator; its number is that of its entry in the audit trail."""

    def __init__(self, state: State, number: int) -> None:
        self.name = str(number)
        self._state = state
        self._ended: set[str] = set()

    def mark(self, letter: DeadLetter, status: str) -> Outcome | None:
        """Write a new status; return None, or why nothing was written: `another run` or `conflict`.

        Raise LaunchError if the state is unreachable.
        """
        record, etag = self._state.load(letter.service, letter.key)
        if record is not None and self._is_held(record):
            return ANOTHER_RUN
        if record is None or (record.get("status", OPEN), record.get("time", "")) != (letter.status, letter.time):
            return self.lost(record)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        marked = {**record, "status": status, "status_time": now, RUN: self.name}
        # No time to live: a store may keep that of a reopened dead letter, and then delete an open
        # one.
        if self._state.save(letter.service, letter.key, marked, etag):
            return None
        stored = self._state.load(letter.service, letter.key)[0] or {}
        is_own = (stored.get("status"), stored.get(RUN)) == (status, self.name)  # a sidecar repeats a write
        return None if is_own else self.lost(stored)

    def lost(self, record: Mapping[str, str] | None) -> Outcome:
        """Return why this run may not act on a dead letter that has changed."""
        status = OPEN if record is None else record.get("status", OPEN)
        return CONFLICT if status in (OPEN, ERASED) else ANOTHER_RUN

    def _is_held(self, record: Mapping[str, str]) -> bool:
        """Whether another run, which has not ended, replays the event now."""
        holder = record.get(RUN, "")
        if record.get("status") != REPLAYING or holder in ("", self.name) or not holder.isdecimal():
            return False
        held = datetime.now(UTC) - datetime.fromisoformat(record["status_time"])
        return held.total_seconds() < HELD_SECONDS_MAX and not self._has_ended(holder)

    def _has_ended(self, holder: str) -> bool:
        if holder not in self._ended:
            entries = newest_entries(self._state, int(holder) + 1, 1)
            if any(each.outcome == BEGUN for each in entries):
                return False
            self._ended.add(holder)
        return True


def discard(run: Run, letter: DeadLetter) -> Outcome:
    """Mark the dead letter as needing no replay."""
    return run.mark(letter, "discarded") or "discarded"
