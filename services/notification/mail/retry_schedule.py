"""The entries of the mail retry queue, and when each one is due."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from services.notification.mail.outcome import Outcome
from sidecart.chassis.events import timestamp

RETENTION = timedelta(hours=48)  # then the mail becomes a dead letter, as on most mail servers
PAUSE_MAX = timedelta(hours=1)
DOUBLINGS_MAX = 12  # from one second to more than an hour
UNKNOWN_DOUBLINGS_MAX = 3  # from one hour to eight hours
BROKEN_PAUSE = timedelta(seconds=5)  # after a lost connection; the server may be back soon
LEASE = timedelta(seconds=30)  # the duration of a claim; a process renews it while it sends


class Mail(msgspec.Struct, frozen=True):
    """An entry of the queue.

    `attempts` counts temporary refusals and lost connections, `unknown` the attempts with an
    unknown outcome. `holder` names the claim. `done` is True once the mail is settled.
    """

    event: str
    since: datetime
    due: datetime
    attempts: int = 0
    unknown: int = 0
    holder: str = ""
    done: bool = False

    def changed(self, **change: object) -> Mail:
        """Return a copy with other values."""
        return msgspec.structs.replace(self, **change)

    def encoded(self) -> bytes:
        """Return the entry as the store holds it."""
        fields = msgspec.structs.asdict(self) | {"since": timestamp(self.since), "due": timestamp(self.due)}
        return msgspec.json.encode(fields)


@dataclass(slots=True, eq=False)
class ClaimedMail:
    """A mail that this process may send, as long as it keeps `due` in the future."""

    order_id: str
    mail: Mail
    etag: str | None


@dataclass(frozen=True, slots=True)
class RetrySchedule:
    """When each mail is due.

    `first_pause` follows a temporary refusal, `unknown_pause` an unknown outcome.
    """

    now: Callable[[], datetime]
    first_pause: timedelta
    unknown_pause: timedelta = timedelta(hours=1)

    def new(self, event: bytes, outcome: Outcome | None, dot_sent: bool = False) -> Mail:
        """Return a new entry; `outcome` is that of the first attempt, or None while it runs."""
        now = self.now()
        mail = Mail(event.decode(), since=now, due=now)
        if outcome is None:
            return mail.changed(due=now + self._exclusive_for(dot_sent), holder=secrets.token_hex(8))
        return self.after(mail, outcome)

    def paced(self, event: bytes, due: datetime) -> Mail:
        """Return the entry of a mail that waits because its user got too many mails."""
        return Mail(event.decode(), since=due, due=due)  # waiting is no failure: since begins later

    def after(self, mail: Mail, outcome: Outcome) -> Mail:
        """Return an entry without a claim, due by the outcome of the last attempt."""
        now = self.now()
        if outcome == "unknown":
            pause = self.unknown_pause * 2.0 ** min(mail.unknown, UNKNOWN_DOUBLINGS_MAX)
            return mail.changed(due=now + pause, unknown=mail.unknown + 1, holder="")
        if outcome in ("deferred", "broken"):
            first = self.first_pause if outcome == "deferred" else min(self.first_pause, BROKEN_PAUSE)
            pause = min(first * 2.0 ** min(mail.attempts, DOUBLINGS_MAX), PAUSE_MAX)
            return mail.changed(due=now + pause, attempts=mail.attempts + 1, holder="")
        return mail.changed(due=now, holder="")

    def claimed(self, mail: Mail) -> Mail:
        """Return an entry with a new claim."""
        return mail.changed(due=self.now() + LEASE, holder=secrets.token_hex(8))

    def with_dot(self, mail: Mail) -> Mail:
        """Return an entry with a longer claim, because the outcome may be unknown after the dot."""
        return mail.changed(due=self.now() + self._exclusive_for(dot_sent=True))

    def is_too_old(self, mail: Mail) -> bool:
        """Return whether the mail has been in the queue for the whole retention time."""
        return self.now() - mail.since >= RETENTION

    def _exclusive_for(self, dot_sent: bool) -> timedelta:
        """Return for how long other processes must not send the mail.

        After the dot it is longer: if this process dies then, the outcome is unknown.
        """
        return max(self.unknown_pause, LEASE) if dot_sent else LEASE
