"""No mail for an erased user is sent, and no copy of one stays in the retry queue."""

import asyncio
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from services.notification.age import FRESH
from services.notification.mail.mailer import Mailer
from sidecart.chassis.errors import PermanentError
from sidecart.chassis.events import timestamp
from tests.unit.services.notification.mail.harness import (
    BEGIN,
    OTHER,
    MailHarness,
    Script,
    play,
    requested,
    serving,
    until,
)
from tests.unit.services.sample_events import EVENT, ORDER, USER

LATER = Script(answers={b"RCPT": b"451 later"})


def erase(harness: MailHarness, **state: Any) -> None:
    """Write the mailbox of an erased user."""
    mailbox = {"user_id": USER, "contact": None, "erased": True, **state}
    harness.store.put(f"mailbox:{USER}", msgspec.json.encode({"state": mailbox, "outbox": {}}))


def made_at(body: bytes, age: timedelta) -> bytes:
    """Return an event of this age at the beginning."""
    return msgspec.json.encode({**msgspec.json.decode(body), "time": timestamp(BEGIN - age)})


async def queued_but_not_listed(harness: MailHarness, port: int) -> Mailer:
    """Return a Mailer whose mail is in the retry queue, without its entry in the index."""
    process = harness.process(port)
    await process.handle(requested())
    del harness.store.records["mail-retry-index:0"]
    return process


def values(harness: MailHarness) -> bytes:
    """Return all records of the store, as bytes."""
    return b"\n".join(value for value, _ in harness.store.records.values())


def test_a_mail_that_was_requested_long_ago_is_not_sent() -> None:
    """Its user may be erased, so the mailbox tells; the event is done."""

    async def scenario(harness: MailHarness) -> None:
        erase(harness)
        async with serving(Script()) as server:
            await harness.process(server.port).handle(made_at(requested(), FRESH))
            await harness.process(server.port).handle(requested())  # without a time
            assert [] == server.copies

    assert play(scenario).notification()["sent_at"] is None


def test_a_fresh_mail_costs_no_look_at_the_mailbox() -> None:
    """Its mailbox had a contact a moment ago."""

    async def scenario(harness: MailHarness) -> None:
        async with serving(Script()) as server:
            await harness.process(server.port).handle(made_at(requested(), timedelta(seconds=1)))
            assert 1 == len(server.copies)

    assert 0 == play(scenario).store.count("load mailbox:")


def test_the_queued_mails_of_the_user_lose_their_text() -> None:
    """Those of the near hours and of later ones; a mail of another user stays."""

    async def scenario(harness: MailHarness) -> None:
        async with serving(LATER) as server:
            process = harness.process(server.port)
            due = BEGIN + timedelta(hours=5)
            later = {**harness.notification(), "not_before": timestamp(due)}
            harness.store.put(f"notification:{ORDER}", msgspec.json.encode(later))
            await process.handle(requested())
            await process.handle(requested(OTHER, user_id=OTHER, to="bob@example.com"))
            erase(harness, mailed=[int(due.timestamp())])

            await process.erased_users.erase(USER)

            assert (True, "") == (harness.entry()["done"], harness.entry()["event"])
            assert not harness.entry(OTHER)["done"]
            assert b"ann@example.com" not in values(harness)
            assert [OTHER] == harness.index

    play(scenario)


def test_a_mail_that_enters_the_queue_after_the_erasure_is_ended_at_once() -> None:
    """The erasure searched the queue before."""

    async def scenario(harness: MailHarness) -> None:
        async with serving(LATER) as server:
            process = harness.process(server.port)
            erase(harness)
            await process.handle(made_at(requested(), timedelta(seconds=1)))

            assert harness.entry()["done"]
            assert b"ann@example.com" not in values(harness)

    play(scenario)


def test_a_due_mail_of_an_erased_user_is_not_sent() -> None:
    """The mailbox is looked at before each attempt from the queue."""

    async def scenario(harness: MailHarness) -> None:
        async with serving(Script(answers={b"RCPT": b"451 later"})) as server:
            process = harness.process(server.port)
            await process.handle(requested())
            erase(harness)
            server.script.answers = {}
            harness.now += timedelta(minutes=1)

            await process.retries.retry_due()

            assert [] == server.copies
            assert (True, "") == (harness.entry()["done"], harness.entry()["event"])

    play(scenario)


def test_an_event_of_a_queued_mail_that_comes_again_sends_nothing() -> None:
    """The entry is done, and without the mailbox the event would send the mail."""

    async def scenario(harness: MailHarness) -> None:
        async with serving(Script(answers={b"RCPT": b"451 later"})) as server:
            process = harness.process(server.port)
            await process.handle(requested())
            erase(harness)
            await process.erased_users.erase(USER)
            server.script.answers = {}
            await process.handle(made_at(requested(), timedelta(seconds=1)))
            assert [] == server.copies

    play(scenario)


@pytest.mark.parametrize("age", [timedelta(seconds=1), FRESH], ids=["fresh", "old"])
def test_an_entry_that_no_index_lists_is_ended_by_its_event(age: timedelta) -> None:
    """Its process died before it listed the entry, so the erasure did not find it."""

    async def scenario(harness: MailHarness) -> None:
        async with serving(LATER) as server:
            process = await queued_but_not_listed(harness, server.port)
            erase(harness)
            await process.erased_users.erase(USER)
            assert b"ann@example.com" in values(harness)

            await process.handle(made_at(requested(), age))

            assert (True, "") == (harness.entry()["done"], harness.entry()["event"])
            assert b"ann@example.com" not in values(harness)

    play(scenario)


@pytest.mark.parametrize("step", ["put", "enlist"])
def test_an_entry_that_its_event_completes_during_the_erasure_is_ended(step: str) -> None:
    """The erasure searches the queue before the write of an event that comes again."""

    async def scenario(harness: MailHarness) -> None:
        async with serving(LATER) as server:
            process = await queued_but_not_listed(harness, server.port)
            if step == "put":  # its process died before it wrote the entry
                del harness.store.records[f"mail-retry:{ORDER}"]
            queue = process.unsent._retry_queue
            write = getattr(queue, step)

            async def erase_and_write(*arguments: Any) -> Any:
                erase(harness)
                await process.erased_users.erase(USER)
                return await write(*arguments)

            setattr(queue, step, erase_and_write)
            await process.handle(made_at(requested(), timedelta(seconds=1)))

            assert (True, "") == (harness.entry()["done"], harness.entry()["event"])
            assert b"ann@example.com" not in values(harness)

    play(scenario)


def test_the_entry_of_a_sent_mail_that_no_index_lists_is_ended_by_its_event() -> None:
    """Another process sent the mail meanwhile; no erasure would find the entry later."""

    async def scenario(harness: MailHarness) -> None:
        async with serving(LATER) as server:
            process = await queued_but_not_listed(harness, server.port)
            sent = {**harness.notification(), "sent_at": timestamp(BEGIN)}
            harness.store.put(f"notification:{ORDER}", msgspec.json.encode(sent))
            harness.store.put(f"dead:{EVENT}", msgspec.json.encode({"status": "replaying"}))

            await process.handle(requested())

            assert (True, "") == (harness.entry()["done"], harness.entry()["event"])
            assert "replayed" == harness.store.read(f"dead:{EVENT}")["status"]

    play(scenario)


def test_a_refused_mail_of_an_erased_user_leaves_no_text() -> None:
    """Its dead letter is written after the erasure has searched them."""

    async def scenario(harness: MailHarness) -> None:
        answers = asyncio.Event()
        async with serving(Script(to_dot=b"550 no ann@example.com", answers_dot=answers)) as server:
            process = harness.process(server.port)
            handling = asyncio.create_task(process.handle(made_at(requested(), timedelta(seconds=1))))
            await until(lambda: bool(server.copies))
            erase(harness)
            answers.set()
            with pytest.raises(PermanentError):
                await handling

    harness = play(scenario)

    [letter] = [key for key in harness.store.records if key.startswith("dead:")]
    assert ("", "erased") == (harness.store.read(letter)["event"], harness.store.read(letter)["status"])
    assert b"ann@example.com" not in values(harness)
