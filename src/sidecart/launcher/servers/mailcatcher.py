"""A mail server for local use: it accepts every mail, delivers none, and shows them at a URL.

`python -m sidecart.launcher.servers.mailcatcher --smtp-port 1025 --http-port 8025 --journal FILE`
"""

import argparse
import asyncio
import base64
import html
import json
import signal
import sys
import threading
import time
from collections import deque
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from email import policy
from email.message import EmailMessage
from email.parser import BytesHeaderParser, BytesParser
from http.server import BaseHTTPRequestHandler
from itertools import count
from pathlib import Path
from typing import BinaryIO
from urllib.parse import parse_qs, urlsplit

from aiosmtpd.smtp import SMTP, Envelope, Session

from sidecart.launcher.servers.bounded import SILENT_SECONDS_MAX, BoundedController, BoundedHttpServer

MAILS_MAX = 10_000
"""How many of the newest mails are kept: about 100 MB at most, with two small mails per order."""

MAIL_BYTES_MAX = 1024 * 1024
SHOWN_MAX = 200
"""How many mails the page lists, and how many one response with new mails contains at most."""
WAIT_SECONDS_MAX = 60.0
"""How long a request for new mails is held at most."""


@dataclass(frozen=True, slots=True)
class Mail:
    """One parsed mail; `to` joins the envelope's recipients with commas."""

    id: int
    sender: str
    to: str
    subject: str
    message_id: str
    date: str
    headers: dict[str, str]
    text: str
    html: str
    taken_at: float
    """Seconds of the wall clock."""

    def as_json(self) -> dict[str, object]:
        """Return the mail with the field names of the HTTP interface."""
        fields = asdict(self)
        return {"id": fields.pop("id"), "from": fields.pop("sender"), **fields}


@dataclass(frozen=True, slots=True)
class StoredMail:
    """One unparsed mail.

    Most mails are never read, and parsing one costs more than accepting it.
    """

    id: int
    sender: str
    recipients: tuple[str, ...]
    content: bytes
    taken_at: float
    message_id: str
    """Parsed on arrival, so that a client that lists all mails does not delay the next mail."""

    def short(self) -> dict[str, object]:
        """Return id, Message-ID, recipients and time."""
        to = ",".join(self.recipients)
        return {"id": self.id, "message_id": self.message_id, "to": to, "taken_at": self.taken_at}

    def read(self) -> Mail:
        """Parse the mail."""
        message = BytesParser(policy=policy.default).parsebytes(self.content)
        assert isinstance(message, EmailMessage)
        return Mail(
            id=self.id,
            sender=self.sender,
            to=",".join(self.recipients),
            subject=str(message.get("subject", "")),
            message_id=str(message.get("message-id", "")),
            date=str(message.get("date", "")),
            headers={name: str(value) for name, value in message.items()},
            text=_part(message, "plain"),
            html=_part(message, "html"),
            taken_at=self.taken_at,
        )

    def line(self) -> bytes:
        """Return the mail as a line of the journal."""
        fields = {**asdict(self), "content": base64.b64encode(self.content).decode()}
        return json.dumps(fields).encode() + b"\n"

    @classmethod
    def of_line(cls, line: bytes) -> "StoredMail | None":
        """Parse a line of the journal; return None for an incomplete line."""
        try:
            fields = json.loads(line)
            content, recipients = base64.b64decode(fields.pop("content")), tuple(fields.pop("recipients"))
            return cls(content=content, recipients=recipients, **fields)
        except (ValueError, LookupError, TypeError):
            return None


class Mailbox:
    """The newest mails, shared by the SMTP and HTTP servers.

    With a journal they survive a restart.
    """

    def __init__(self, journal: Path | None = None) -> None:
        self._mails: deque[StoredMail] = deque(maxlen=MAILS_MAX)
        self._ids = count(1)
        self._lock = threading.Condition()
        self._journal = journal
        self._lines = 0
        self._file: BinaryIO | None = None
        if journal is not None:
            if journal.exists():
                found = (StoredMail.of_line(line) for line in journal.read_bytes().splitlines())
                self._mails.extend(mail for mail in found if mail is not None)
                self._ids = count(max((mail.id for mail in self._mails), default=0) + 1)
            self._write_anew(journal)

    def add(self, envelope: Envelope) -> StoredMail:
        """Store the mail of an SMTP envelope; when this returns, the journal contains it."""
        content = envelope.content if isinstance(envelope.content, bytes) else (envelope.content or "").encode()
        with self._lock:
            mail = StoredMail(
                next(self._ids),
                envelope.mail_from or "",
                tuple(envelope.rcpt_tos),
                content,
                time.time(),
                str(BytesHeaderParser().parsebytes(content).get("message-id", "")),
            )
            self._mails.append(mail)
            self._lock.notify_all()
            if self._file is not None and self._journal is not None:
                self._file.write(mail.line())
                self._lines += 1
                if self._lines >= 2 * MAILS_MAX:
                    self._write_anew(self._journal)
        return mail

    def _write_anew(self, journal: Path) -> None:
        """Rewrite the journal with the current mails; it is replaced atomically."""
        new = journal.with_name(f"{journal.name}.new")
        new.write_bytes(b"".join(mail.line() for mail in self._mails))
        new.replace(journal)
        if self._file is not None:
            self._file.close()
        # unbuffered: killing the process loses no acknowledged mail
        self._file = journal.open("ab", buffering=0)
        self._lines = len(self._mails)

    def close(self) -> None:
        """Close the journal."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _all(self) -> list[StoredMail]:
        with self._lock:
            return list(self._mails)

    def all(self, to: str | None = None) -> list[Mail]:
        """Return the mails, oldest first; with `to`, only those with that recipient."""
        recipient = None if to is None else to.casefold()
        return [
            mail.read()
            for mail in self._all()
            if recipient is None or recipient in [each.casefold() for each in mail.recipients]
        ]

    def short(self) -> list[dict[str, object]]:
        """Return id, Message-ID, recipients and time of each mail, without parsing its body."""
        return [mail.short() for mail in self._all()]

    def newest(self, number: int) -> tuple[int, list[Mail]]:
        """Return the number of mails, and the newest ones, newest first."""
        mails = self._all()
        return len(mails), [mail.read() for mail in reversed(mails[-number:])]

    def after(self, mail_id: int, seconds: float) -> list[Mail]:
        """Return the newest mails after this id, oldest first; wait up to `seconds` for one."""
        with self._lock:
            self._lock.wait_for(lambda: bool(self._mails) and self._mails[-1].id > mail_id, seconds)
            found = [mail for mail in self._mails if mail.id > mail_id]
        return [mail.read() for mail in found[-SHOWN_MAX:]]

    def one(self, mail_id: str) -> Mail | None:
        """Return the mail with this id, or None."""
        return next((mail.read() for mail in self._all() if str(mail.id) == mail_id), None)

    def clear(self) -> None:
        """Delete every mail; the ids continue."""
        with self._lock:
            self._mails.clear()
            if self._journal is not None:
                self._write_anew(self._journal)


def _part(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    return str(part.get_content()) if part is not None else ""


class SmtpSide:
    """The handler that aiosmtpd calls for each mail."""

    def __init__(
        self,
        mailbox: Mailbox,
        to_recipient: str = "250 OK",
        pause_seconds: float = 0.0,
        late_seconds: float = 0.0,
    ) -> None:
        self._mailbox = mailbox
        self._to_recipient = to_recipient
        self._pause_seconds = pause_seconds
        self._late_seconds = late_seconds
        self.recipients = 0
        """The number of recipients so far, accepted or not."""

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Accept a recipient, or return the configured response."""
        self.recipients += 1
        await asyncio.sleep(self._pause_seconds)
        envelope.rcpt_tos.append(address)
        return self._to_recipient

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Store the mail, and confirm it after the configured delay."""
        mail = self._mailbox.add(envelope)
        # Neither recipient nor subject: logs are stored and shared, and both may name a user.
        print(f"mail {mail.id}: {len(mail.content)} bytes", file=sys.stderr, flush=True)
        await asyncio.sleep(self._late_seconds)
        return "250 2.0.0 accepted"


def http_side(mailbox: Mailbox, smtp: SmtpSide) -> type[BaseHTTPRequestHandler]:
    """Make the HTTP interface.

    GET /, /recipients, /mails[?to=|?short=1|?after=<id>&wait=<seconds>], /mails/<id>,
    /mails/<id>/html; DELETE /mails.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            with answering(self):
                self._get()

        def do_DELETE(self) -> None:
            with answering(self):
                self._delete()

        def _get(self) -> None:
            url = urlsplit(self.path)
            match url.path.strip("/").split("/"):
                case [""]:
                    self._answer(200, "text/html", _page(*mailbox.newest(SHOWN_MAX)))
                case ["recipients"]:
                    self._json(200, {"recipients": smtp.recipients})
                case ["mails"]:
                    query = parse_qs(url.query)
                    if "short" in query:
                        self._json(200, mailbox.short())
                    elif "after" in query:
                        self._json(200, _new(mailbox, query))
                    else:
                        self._json(200, [mail.as_json() for mail in mailbox.all(query.get("to", [None])[0])])
                case ["mails", mail_id] if mail := mailbox.one(mail_id):
                    self._json(200, mail.as_json())
                case ["mails", mail_id, "html"] if mail := mailbox.one(mail_id):
                    self._answer(200, "text/html", mail.html or f"<pre>{html.escape(mail.text)}</pre>")
                case _:
                    self._json(404, {"detail": "no such mail"})

        def do_HEAD(self) -> None:
            self.do_GET()

        def _delete(self) -> None:
            if urlsplit(self.path).path.rstrip("/") == "/mails":
                mailbox.clear()
                self._answer(204, "text/plain", "")
            else:
                self._json(404, {"detail": "only /mails can be deleted"})

        def _json(self, status: int, body: object) -> None:
            self._answer(status, "application/json", json.dumps(body))

        def _answer(self, status: int, kind: str, body: str) -> None:
            content = body.encode()
            self.send_response(status)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            # A mail is untrusted content: the browser shows it, but it may load or run nothing.
            self.send_header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
            if "Content-Length" in self.headers or "Transfer-Encoding" in self.headers:
                # the server does not read the request's body, and must not parse it as the next
                # request
                self.send_header("Connection", "close")
                self.close_connection = True
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Log nothing: the log is for mails."""

    return Handler


def answering(handler: BaseHTTPRequestHandler) -> AbstractContextManager[None]:
    """Keep the connection open during the response if the server may close idle connections."""
    server = handler.server
    return server.answering(handler.connection) if isinstance(server, BoundedHttpServer) else nullcontext()


def _new(mailbox: Mailbox, query: dict[str, list[str]]) -> list[dict[str, object]]:
    """Return the mails after an id. A malformed query returns all mails without waiting."""
    after, wait = (query.get(name, ["0"])[0] for name in ("after", "wait"))
    if not (after.isdecimal() and wait.isdecimal()):
        return [mail.as_json() for mail in mailbox.after(0, 0)]
    return [mail.as_json() for mail in mailbox.after(int(after), min(int(wait), WAIT_SECONDS_MAX))]


def _page(number: int, mails: list[Mail]) -> str:
    rows = "".join(
        f"<details><summary><b>{html.escape(mail.subject)}</b> to {html.escape(mail.to)}"
        f" <small>{html.escape(mail.date)} {html.escape(mail.message_id)}</small></summary>"
        f'<pre>{html.escape(mail.text)}</pre><p><a href="/mails/{mail.id}/html">as HTML</a></p></details>'
        for mail in mails
    )
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><title>Mails</title><style>body{font:16px/1.5 sans-serif;"
        "max-width:50rem;margin:2rem auto;padding:0 1rem}details{border-bottom:1px solid #ccc;padding:.5rem 0}"
        "pre{white-space:pre-wrap;background:#f6f6f6;padding:1rem}small{color:#666}</style>"
        f"<h1>{number} mails</h1>{rows or '<p>None yet: pay for an order.</p>'}</html>"
    )


def main() -> None:
    """Serve SMTP and HTTP until SIGTERM, on the loopback interface by default."""
    parser = argparse.ArgumentParser(description="Accept every mail, deliver none, and show them at a URL.")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default 127.0.0.1)")
    parser.add_argument("--smtp-port", type=int, required=True)
    parser.add_argument("--http-port", type=int, required=True)
    parser.add_argument("--journal", type=Path, help="store the mails in this file, and load them at startup")
    parser.add_argument(
        "--to-recipient", default="250 OK", help="the SMTP response to each recipient, to test other responses"
    )
    parser.add_argument(
        "--pause-seconds", type=float, default=0.0, help="the delay before the response to each recipient"
    )
    parser.add_argument("--late-seconds", type=float, default=0.0, help="the delay before the final 250 of a mail")
    options = parser.parse_args()
    mailbox = Mailbox(options.journal)
    side = SmtpSide(mailbox, options.to_recipient, options.pause_seconds, options.late_seconds)
    smtp = BoundedController(
        side,
        hostname=options.host,
        port=options.smtp_port,
        data_size_limit=MAIL_BYTES_MAX,
        ident="sidecart mail catcher",
        timeout=SILENT_SECONDS_MAX + options.pause_seconds + options.late_seconds,
    )
    try:
        web = BoundedHttpServer((options.host, options.http_port), http_side(mailbox, side))
        smtp.start()
    except OSError as error:
        sys.exit(f"port {options.smtp_port} or {options.http_port} of {options.host} cannot be used: {error.strerror}")
    # shutdown() waits for serve_forever, which runs in this thread, so another thread must call it.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=web.shutdown).start())
    web.serve_forever(poll_interval=0.1)
    web.server_close()
    smtp.stop()
    mailbox.close()


if __name__ == "__main__":
    main()
