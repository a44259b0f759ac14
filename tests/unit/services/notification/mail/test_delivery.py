"""The first attempt to send a mail, to a real SMTP server that accepts, refuses or defers it."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage, Message
from email.parser import BytesParser
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from services.notification.mail import delivery
from services.notification.mail.mailer import Mailer
from services.notification.mail.retry_queue import MailRetryQueue
from services.notification.mail.server import MailServer
from sidecart.chassis.errors import Conflict, PermanentError, SidecarUnavailable, TransientError
from sidecart.chassis.events import timestamp
from sidecart.chassis.telemetry import request_context, tracing
from sidecart.launcher.ports import free_port
from tests.unit.chassis.telemetry.test_metrics import Counted
from tests.unit.chassis.telemetry.test_tracing import RecordedSpans, context, written
from tests.unit.services.sample_events import COMMAND, EVENT, ORDER, USER

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
KEY = f"notification:{ORDER}"
NOTIFICATION = {"order_id": ORDER, "user_id": USER, "kind": "paid", "subject": "Good news", "sent_at": None}


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> RecordedSpans:
    """Record the spans of the test."""
    made = RecordedSpans()
    monkeypatch.setattr(tracing, "spans", made.spans)
    return made


class Server:
    """A mail server with configurable replies to RCPT and DATA."""

    def __init__(self, to_recipient: str = "250 OK", to_data: str = "250 OK") -> None:
        self.mails: list[Message] = []
        self._to_recipient = to_recipient
        self._to_data = to_data
        self.pause_seconds = 0.0

    async def handle_RCPT(
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        """Reply to a recipient."""
        await asyncio.sleep(self.pause_seconds)
        envelope.rcpt_tos.append(address)
        return self._to_recipient

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        """Reply to a mail, and keep it if the reply accepts it."""
        if self._to_data.startswith("250"):
            assert isinstance(envelope.content, bytes)
            self.mails.append(message_from_bytes(envelope.content))
        return self._to_data


class State:
    """A store with one notification, whose saves can fail."""

    def __init__(self, **change: Any) -> None:
        self.records: dict[str, bytes] = {KEY: json.dumps(NOTIFICATION | change).encode()}
        self.conflicts = 0
        self.saves_lost = 0
        self.lost_saves_succeed = False

    async def load(self, key: str) -> tuple[bytes | None, str | None]:
        """Return the value and a constant ETag."""
        return self.records.get(key), "1"

    async def load_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the values in the order of `keys`, with None for an absent key."""
        return [self.records.get(key) for key in keys]

    async def save(self, key: str, value: bytes, etag: str | None, *, ttl_seconds: int | None = None) -> None:
        """Write the value, or fail as `conflicts` and `saves_lost` say."""
        if self.conflicts:
            self.conflicts -= 1
            raise Conflict(key)
        if self.saves_lost:
            self.saves_lost -= 1
            if self.lost_saves_succeed:
                self.records[key] = value
            raise SidecarUnavailable("the store does not answer")
        self.records[key] = value

    async def insert(self, key: str, value: bytes) -> bool:
        """Write if the key is free."""
        return self.records.setdefault(key, value) is value

    @property
    def sent_at(self) -> str | None:
        """The `sent_at` of the notification."""
        sent_at: str | None = json.loads(self.records[KEY])["sent_at"]
        return sent_at


@contextmanager
def serving(server: Server) -> Iterator[int]:
    """Run an SMTP server on a loopback port."""
    controller = Controller(server, hostname="127.0.0.1", port=free_port())
    controller.start()
    try:
        yield controller.port
    finally:
        controller.stop()


def event(**change: Any) -> bytes:
    """Return an EmailRequested event."""
    data = {
        "message_id": "<m-1@sidecart>",
        "order_id": ORDER,
        "user_id": USER,
        "to": "ann@example.com",
        "subject": "Good news",
        "text": "Hello Ann, it is paid. Grüße",
        "html": "<p>Hello Ann</p>",
    }
    envelope = {
        "id": EVENT,
        "type": "EmailRequested",
        "source": "notification",
        "correlationid": COMMAND,
        "time": timestamp(NOW),
        "data": data | change,
    }
    return json.dumps(envelope).encode()


def mailer_for(port: int, state: State) -> Mailer:
    """Return a Mailer for the server on this port."""
    retry_queue = MailRetryQueue(state, lambda: NOW, timedelta(minutes=1))
    return Mailer(MailServer("127.0.0.1", port, False, None, None), "shop@localhost", state, retry_queue, lambda: NOW)


def send(port: int, state: State, *bodies: bytes) -> None:
    """Handle events one by one with one Mailer."""

    async def handle() -> None:
        mailer = mailer_for(port, state)
        try:
            for body in bodies:
                await mailer.handle(body)
        finally:
            mailer.close()

    asyncio.run(handle())


def test_a_mail_is_sent_as_text_and_html_and_sent_at_is_saved() -> None:
    """The mail has the Message-ID of the event, so recipients can detect a copy."""
    server, state = Server(), State()
    with serving(server) as port:
        send(port, state, event())

    mail = server.mails[0]
    assert ("<m-1@sidecart>", "ann@example.com", "Good news") == (mail["Message-ID"], mail["To"], mail["Subject"])
    assert ["text/plain", "text/html"] == [part.get_content_type() for part in mail.walk()][1:]
    assert "2026-01-01T12:00:00.000Z" == state.sent_at


def test_a_mail_continues_the_trace_of_its_event(recorded: RecordedSpans) -> None:
    """A traced mail has a traceparent header; an untraced one has none."""
    server, state = Server(), State()
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    async def handle(port: int) -> None:
        mailer = mailer_for(port, state)
        with recorded.spans.event(
            request_context.start_event("EmailRequested", json.dumps({"traceparent": traceparent}).encode())
        ):
            await mailer.handle(event())
        state.records[KEY] = json.dumps(NOTIFICATION).encode()
        request_context.start()
        await mailer.handle(event())
        mailer.close()

    with serving(server) as port:
        asyncio.run(handle(port))
    first, second = (mail["traceparent"] for mail in server.mails)

    assert (context(recorded.one("send mail")), None) == (written(first), second)


@pytest.mark.parametrize(
    ("to_recipient", "outcome"),
    [("250 OK", "sent"), ("451 later", "deferred"), ("550 no", "refused"), ("421 bye", "unreachable")],
)
def test_mails_are_counted_by_outcome(to_recipient: str, outcome: str) -> None:
    """Each reply of the server increments the counter of one outcome."""
    counted = Counted()
    with serving(Server(to_recipient)) as port, suppress(PermanentError, TransientError):
        send(port, State(), event())

    outcomes = ("sent", "deferred", "refused", "unreachable", "unknown")
    assert {outcome} == {each for each in outcomes if counted("sidecart_mails_total", outcome=each) == 1}


def test_an_ordinary_mail_executes_three_modules() -> None:
    """On an open connection it enters no module of retries, refusals or new connections."""
    folder = Path(delivery.__file__).parent
    executed: set[str] = set()

    def trace(frame: FrameType, _event: str, _argument: object) -> None:
        path = Path(frame.f_code.co_filename)
        if path.parent == folder:
            executed.add(path.name)

    async def handle(port: int) -> None:
        state = State()
        mailer = mailer_for(port, state)
        await mailer.handle(event())
        state.records[KEY] = json.dumps(NOTIFICATION).encode()
        before = sys.gettrace()
        sys.settrace(trace)
        try:
            await mailer.handle(event())
        finally:
            sys.settrace(before)
            mailer.close()
        assert state.sent_at is not None

    server = Server()
    with serving(server) as port:
        asyncio.run(handle(port))

    assert 2 == len(server.mails)
    assert {"delivery.py", "mime.py", "session.py"} == executed


def test_a_repeated_event_sends_no_second_mail() -> None:
    """Two deliveries of one event send one mail."""
    server, state = Server(), State()
    with serving(server) as port:
        send(port, state, event(), event())

    assert 1 == len(server.mails)


def send_after_lost_saves(state: State, times: int) -> tuple[int, int]:
    """Handle an event after `times` failed saves; return the mails sent and still unrecorded."""

    async def handle(port: int) -> int:
        mailer = mailer_for(port, state)
        state.saves_lost = times
        for _ in range(times):
            with pytest.raises(SidecarUnavailable):
                await mailer.handle(event())
        await mailer.handle(event())
        mailer.close()
        return len(mailer.delivery._unrecorded)

    server = Server()
    with serving(server) as port:
        unrecorded = asyncio.run(handle(port))
    return len(server.mails), unrecorded


def test_a_process_does_not_resend_a_mail_whose_sent_at_was_not_saved() -> None:
    """The event arrives again after a store failure; the Mailer then only saves `sent_at`."""
    state = State()

    assert (1, 0) == send_after_lost_saves(state, 2)
    assert timestamp(NOW) == state.sent_at


def test_a_save_that_succeeded_without_an_answer_is_enough() -> None:
    """The next delivery finds `sent_at`, and the Mailer forgets the mail."""
    state = State()
    state.lost_saves_succeed = True

    assert (1, 0) == send_after_lost_saves(state, 1)


def test_the_number_of_unrecorded_mails_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A forgotten mail is sent once more, because mails are sent at least once."""
    monkeypatch.setattr(delivery, "UNRECORDED_MAX", 0)

    assert (2, 0) == send_after_lost_saves(State(), 1)


def test_a_conflict_on_sent_at_is_retried() -> None:
    """The Mailer saves `sent_at` after two conflicts and sends one mail."""
    server, state = Server(), State()
    state.conflicts = 2
    with serving(server) as port:
        send(port, state, event())

    assert (1, False) == (len(server.mails), state.sent_at is None)


@pytest.mark.parametrize(
    "server", [Server(to_recipient="550 no such user"), Server(to_data="554 no thanks")], ids=["recipient", "data"]
)
def test_a_permanently_refused_mail_is_a_dead_letter(server: Server) -> None:
    """A 5xx reply writes a dead letter and sets `failed_at` in the notification."""
    state = State()
    with serving(server) as port, pytest.raises(PermanentError, match="refuses the mail"):
        send(port, state, event())

    assert state.sent_at is None
    assert timestamp(NOW) == json.loads(state.records[KEY])["failed_at"]
    assert "open" == json.loads(state.records[f"dead:{EVENT}"]).get("status", "open")


@pytest.mark.parametrize(
    "server", [Server(to_recipient="451 greylisted"), Server(to_data="452 full")], ids=["recipient", "data"]
)
def test_a_temporarily_refused_mail_enters_the_retry_queue(server: Server) -> None:
    """A 4xx reply queues the mail once, even if its event arrives twice."""
    state = State()
    with serving(server) as port:
        send(port, state, event(), event())

    assert state.sent_at is None
    assert event() == json.loads(state.records[f"mail-retry:{ORDER}"])["event"].encode()
    assert {"ids": [ORDER]} == json.loads(state.records["mail-retry-index:0"])


@pytest.mark.parametrize(
    "change",
    [
        {"to": "ann@example.com\r\nBcc: eve@example.com"},
        {"subject": "a\r\nBcc: eve@example.com"},
        {"message_id": "<a>\r\nBcc: eve@example.com"},
        {"to": "no address"},
        {"to": 7},
    ],
)
def test_header_injection_is_a_dead_letter(change: dict[str, Any]) -> None:
    """A header with a line break or a malformed address raises PermanentError and sends nothing."""
    server, state = Server(), State()
    with serving(server) as port, pytest.raises(PermanentError):
        send(port, state, event(**change))

    assert [] == server.mails


def test_a_mail_without_a_notification_is_a_dead_letter() -> None:
    """An EmailRequested without its notification record raises PermanentError."""
    state = State()
    state.records.clear()

    with pytest.raises(PermanentError, match="no finished order requested"):
        send(1, state, event())


@pytest.mark.parametrize(
    ("subject", "text"),
    [
        ("Good news", "Hello Ann"),
        ("Grüße " * 33, "Grüße, Ann\n" * 50),
        ("word " * 39, "x" * 5000),
        ("\U0001f9e6" * 200, "\U0001f9e6" * 5000),
        ("dots", ".\n..\nFrom me\n"),
    ],
    ids=["plain", "umlauts", "long", "four bytes", "dots"],
)
def test_a_mail_arrives_unchanged(subject: str, text: str) -> None:
    """The subject and both parts survive transport, and no line exceeds SMTP's limit."""
    server, state = Server(), State()
    with serving(server) as port:
        send(port, state, event(subject=subject[:200], text=text, html=f"<p>{text}</p>"))

    raw = server.mails[0].as_bytes()
    read = BytesParser(policy=policy.default).parsebytes(raw)
    assert isinstance(read, EmailMessage)
    plain, page = read.get_body(("plain",)), read.get_body(("html",))
    assert plain is not None
    assert page is not None
    assert subject[:200].strip() == str(read["subject"]).strip()
    assert (text.strip(), f"<p>{text}</p>".strip()) == (plain.get_content().strip(), page.get_content().strip())
    assert all(len(line) < 998 for line in raw.splitlines())
