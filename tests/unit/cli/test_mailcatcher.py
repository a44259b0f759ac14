"""The mail catcher: keeps the newest mails and shows them."""

import threading
from email.message import EmailMessage
from pathlib import Path

import pytest
from aiosmtpd.smtp import Envelope

from cli.servers import mailcatcher
from cli.servers.mailcatcher import Mailbox, _page


def envelope(to: str = "ada@example.com", subject: str = "Paid", text: str = "Good news") -> Envelope:
    """An envelope as the SMTP side hands it over."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "shop@localhost", to, subject
    message["Message-ID"] = "<1@sidecart>"
    message.set_content(text)
    message.add_alternative(f"<p>{text}</p>", subtype="html")
    made = Envelope()
    made.mail_from, made.rcpt_tos, made.content = "shop@localhost", [to], message.as_bytes()
    return made


def test_a_mail_is_shown_with_both_its_bodies() -> None:
    """Text, HTML, addresses and the Message-ID are there to be checked."""
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
    """A recipient is compared case-folded and whole."""
    mailbox = Mailbox()
    mailbox.add(envelope("ada@example.com"))
    mailbox.add(envelope("a@example.com"))

    assert [1] == [mail.id for mail in mailbox.all("ADA@example.com")]


def test_old_mails_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded: the oldest goes."""
    monkeypatch.setattr(mailcatcher, "MAILS_MAX", 2)
    mailbox = Mailbox()

    for _ in range(3):
        mailbox.add(envelope())

    assert [2, 3] == [mail.id for mail in mailbox.all()]


def test_the_page_shows_text_and_runs_nothing() -> None:
    """A mail is somebody else's text."""
    mailbox = Mailbox()
    mailbox.add(envelope(subject="<script>alert(1)</script>"))

    assert "<script>" not in _page(*mailbox.newest(10))


def test_the_page_lists_the_newest_first_and_no_more() -> None:
    """Of a long list the end is what one looks for."""
    mailbox = Mailbox()
    for _ in range(3):
        mailbox.add(envelope())

    assert (3, [3, 2]) == (mailbox.newest(2)[0], [mail.id for mail in mailbox.newest(2)[1]])


def test_mails_outlive_the_process_by_its_journal(tmp_path: Path) -> None:
    """What was answered is there again, whatever was half-written when it was killed; ids go on."""
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


def test_a_journal_keeps_no_more_than_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is written anew when it has grown to twice that, and when the mails are forgotten."""
    monkeypatch.setattr(mailcatcher, "MAILS_MAX", 2)
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


def test_of_many_mails_what_counts_is_said_without_reading_them() -> None:
    """Who, when, and the Message-ID."""
    mailbox = Mailbox()
    mail = mailbox.add(envelope("ada@example.com"))

    expected = {"id": 1, "message_id": "<1@sidecart>", "to": "ada@example.com", "taken_at": mail.taken_at}
    assert [expected] == mailbox.short()


def test_who_asks_for_what_is_new_gets_what_came_after() -> None:
    """Oldest first, and at once if there is any."""
    mailbox = Mailbox()
    for subject in ("first", "second", "third"):
        mailbox.add(envelope(subject=subject))

    assert ["second", "third"] == [mail.subject for mail in mailbox.after(1, 0)]
    assert [] == mailbox.after(3, 0)


def test_who_asks_for_what_is_new_waits_for_it() -> None:
    """The answer is there when the mail is: nobody has to ask again and again."""
    mailbox, found = Mailbox(), list[str]()
    asking = threading.Thread(target=lambda: found.extend(mail.subject for mail in mailbox.after(0, 30)))
    asking.start()
    mailbox.add(envelope(subject="news"))
    asking.join(10)

    assert ["news"] == found
