"""The Notification Service in the simulation: its mail server is simulated, the rest is real."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from functools import partial

import msgspec

from services.notification import app
from services.notification.events import EmailRequested
from services.notification.mail.later import FIRST
from services.notification.mail.mailer import Mailer
from services.notification.mail.outcome import SENT, Result, Withdrawn
from services.notification.mail.retry_queue import INDEX, MailRetryQueue
from services.notification.mail.server import Connector, MailServer
from services.notification.mail.session import Connections, Session
from services.notification.settings import Settings
from sidecart.chassis.currency import DEFAULT
from sidecart.chassis.errors import SidecarUnavailable
from sidecart.testkit.programs import Program
from sidecart.testkit.simulation.project import Parts, SimulatedApp, Surroundings
from sidecart.testkit.simulation.schedule import Schedule
from sidecart.testkit.simulation.stores import Records

SERVER = MailServer("localhost", 25, tls=False, username=None, password=None)
MAILS_PER_HOUR = 1  # so that most mails wait
SENDER = "shop@localhost"
SETTINGS = Settings(SERVER, SENDER, timedelta(minutes=1), timedelta(hours=1), DEFAULT, MAILS_PER_HOUR)


class SimulatedSession(Session):
    """A session with a simulated server that can be unreachable or lose its reply."""

    def __init__(self, schedule: Schedule, taken: Counter[str], mail: EmailRequested) -> None:
        super().__init__(Connections(Connector(SERVER)), SENDER, mail)
        self._schedule = schedule
        self._taken = taken
        self._message_id = mail.message_id

    async def result(self, message: bytes) -> Result:
        """Send the mail with the same phases as the real session."""
        try:
            await self._schedule.call(lambda: None)
            self.is_answered = True
            if self.before_dot is not None:
                await self.before_dot()
        except Withdrawn as withdrawn:
            return Result("withdrawn", str(withdrawn))
        except SidecarUnavailable as error:
            return Result("unreachable", str(error))
        self.dot_sent = True
        try:
            await self._schedule.call(lambda: self._taken.update([self._message_id]))
        except SidecarUnavailable as error:
            return Result("unknown", str(error))
        return SENT


class SimulatedMailer(Mailer):
    """The real Mailer with a simulated mail server, which only counts mails."""

    def __init__(self, around: Surroundings) -> None:
        clock = around.schedule.clock
        retry_queue = MailRetryQueue(around.sidecar, clock, timedelta(minutes=1))
        new_session = partial(SimulatedSession, around.schedule, around.side_effects)
        super().__init__(SERVER, SENDER, around.sidecar, retry_queue, clock, None, new_session)
        self.background.retry_seconds = 0.0


def _parts(around: Surroundings) -> Parts:
    mailer = SimulatedMailer(around)

    async def erase(body: bytes) -> None:
        await mailer.erased_users.erase(msgspec.json.decode(body)["data"]["user_id"])

    return Parts({"EmailRequested": mailer.handle}, {"UserErased": erase}, mailer.retries.retry_due, mailer.close)


def _has_queued_mails(records: Records) -> bool:
    """Return whether an index of the mail retry queue lists an unfinished mail.

    An entry that no page lists belongs to a process that died while adding it.
    """
    listed = [
        order_id
        for key, (value, _) in records.items()
        if key.startswith((f"{INDEX}:", f"{FIRST}:"))
        for order_id in msgspec.json.decode(value)["ids"]
    ]
    entries = (records.get(f"mail-retry:{order_id}") for order_id in listed)
    return any(entry is not None and not msgspec.json.decode(entry[0])["done"] for entry in entries)


NOTIFICATION = SimulatedApp(
    Program(app.service(DEFAULT, MAILS_PER_HOUR), partial(app.wire, SETTINGS)), _parts, _has_queued_mails
)
