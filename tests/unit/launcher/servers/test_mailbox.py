"""The mail catcher stores the newest mails, also over a restart."""

import threading
from email.message import EmailMessage
from pathlib import Path

import pytest
from aiosmtpd.smtp import Envelope

from sidecart.launcher.servers import mailbox as module
from sidecart.launcher.servers.mailbox import Mailbox


def envelope(to: str = "ada@example.com", subject: str = "Paid", text: str = "Good news") -> Envelope:
    """An envelope as the SMTP server passes it on."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "shop@localhost", to, subject
    message["Message-ID"] = "<1@sidecart>"
    message.set_content(text)
    message.add_alternative(f"<p>{text}</p>", subtype="html")
    made = Envelope()
    made.mail_from, made.rcpt_tos, made.content = "shop@localhost", [to], message.as_bytes()
    return made


def test_a_mail_is_shown_with_both_its_bodies() -> None:
    """A mail has its text, HTML, addresses and Message-ID."""
    mailbox = Mailbox()

    mail = mailbox.add(envelope()).read().as_json()

    assert ("shop@localhost", "ada@example.com", "Paid", "<1@sidecart>") == (
        mail["from"],
        mail["to"],
        mail["subject"],
        mail["message_id"],
    )
    assert "Good news" in str(mail["text"])
    assert "<p>Good news</p>" in str(mail["html"])


def test_mails_are_found_by_recipient() -> None:
    """The filter compares complete recipients and ignores case."""
    mailbox = Mailbox()
    mailbox.add(envelope("ada@example.com"))
    mailbox.add(envelope("a@example.com"))

    assert [1] == [mail.id for mail in mailbox.all("ADA@example.com")]


def test_old_mails_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest mail is dropped, so memory is bounded."""
    monkeypatch.setattr(module, "MAILS_MAX", 2)
    mailbox = Mailbox()

    for _ in range(3):
        mailbox.add(envelope())

    assert [2, 3] == [mail.id for mail in mailbox.all()]


def test_the_page_lists_only_the_newest_mails_newest_first() -> None:
    """The page shows only the newest part of a long list."""
    mailbox = Mailbox()
    for _ in range(3):
        mailbox.add(envelope())

    assert (3, [3, 2]) == (mailbox.newest(2)[0], [mail.id for mail in mailbox.newest(2)[1]])


def test_mails_survive_a_restart_through_the_journal(tmp_path: Path) -> None:
    """Acknowledged mails survive a kill, an incomplete last line is ignored, and ids continue."""
    journal = tmp_path / "mails.jsonl"
    mailbox = Mailbox(journal)
    first = mailbox.add(envelope("ada@example.com"))
    mailbox.add(envelope("bob@example.com"))
    mailbox.close()
    with journal.open("ab") as file:
        file.write(b'{"id": 3, "sender": "x", "recip')

    again = Mailbox(journal)
    third = again.add(envelope())
    again.close()

    assert [first.read(), 2, 3] == [again.all()[0], *(mail.id for mail in again.all()[1:])]
    assert 3 == third.id
    assert 3 == len(journal.read_bytes().splitlines())


def test_the_journal_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal is rewritten at twice the limit of mails, and when all mails are deleted."""
    monkeypatch.setattr(module, "MAILS_MAX", 2)
    journal = tmp_path / "mails.jsonl"
    mailbox = Mailbox(journal)
    lengths = []
    for _ in range(6):
        mailbox.add(envelope())
        lengths.append(len(journal.read_bytes().splitlines()))
    mailbox.clear()
    mailbox.close()

    assert [1, 2, 3, 2, 3, 2] == lengths
    assert b"" == journal.read_bytes()


def test_the_short_form_needs_no_parsing() -> None:
    """The short form has id, recipients, time and Message-ID."""
    mailbox = Mailbox()
    mail = mailbox.add(envelope("ada@example.com"))

    expected = {"id": 1, "message_id": "<1@sidecart>", "to": "ada@example.com", "taken_at": mail.taken_at}
    assert [expected] == mailbox.short()


def test_a_request_for_new_mails_returns_later_ones() -> None:
    """The response lists newer mails, oldest first, without a wait if there are any."""
    mailbox = Mailbox()
    for subject in ("first", "second", "third"):
        mailbox.add(envelope(subject=subject))

    assert ["second", "third"] == [mail.subject for mail in mailbox.after(1, 0)]
    assert [] == mailbox.after(3, 0)


def test_a_request_for_new_mails_waits_for_one() -> None:
    """A held request returns as soon as a mail arrives, so clients need not poll."""
    mailbox, found = Mailbox(), list[str]()
    reader = threading.Thread(target=lambda: found.extend(mail.subject for mail in mailbox.after(0, 30)))
    reader.start()
    mailbox.add(envelope(subject="news"))
    reader.join(10)

    assert ["news"] == found
