"""The newest mails of the mail catcher, in memory and in a journal."""

import base64
import json
import threading
import time
from collections import deque
from dataclasses import asdict, dataclass
from email import policy
from email.message import EmailMessage
from email.parser import BytesHeaderParser, BytesParser
from itertools import count
from pathlib import Path
from typing import BinaryIO

from aiosmtpd.smtp import Envelope

MAILS_MAX = 10_000
"""How many of the newest mails are kept: about 100 MB at most, with small mails."""
SHOWN_MAX = 200
"""How many mails the page lists, and how many one response with new mails contains at most."""


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
