"""Mails that wait because their user got too many: none is lost, and others are not delayed."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec
import pytest

from services.notification.flows import settled_mails
from services.notification.mail import retry_queue
from services.notification.mail.later import FIRST
from services.notification.mail.mailer import Mailer
from sidecart.chassis.events import timestamp
from tests.unit.services.notification.mail.harness import HOUR, OTHER, MailHarness, Script, play, requested, serving
from tests.unit.services.sample_events import ORDER

MINUTE = timedelta(minutes=1)


def wait_until(harness: MailHarness, due: datetime, order_id: str = ORDER) -> None:
    """Give the notification of an order the time until which its mail waits."""
    known = harness.notification()
    record = {**known, "order_id": order_id, "not_before": timestamp(due)}
    harness.store.put(f"notification:{order_id}", msgspec.json.encode(record))


@pytest.mark.parametrize("wait", [MINUTE, 3 * HOUR, 100 * HOUR], ids=str)
def test_a_paced_mail_is_sent_when_it_is_due(wait: timedelta) -> None:
    """Another process sends it then, also after more than the 48 hours of a failing mail."""

    async def scenario(harness: MailHarness) -> None:
        async with serving(Script()) as server:
            first = harness.process(server.port)
            due = harness.now + wait
            wait_until(harness, due)
            for _ in range(2):
                await first.handle(requested())
                await first.retries.retry_due()
                assert {ORDER} == await settled_mails(harness.store, [ORDER])
            first.close()
            second = harness.process(server.port)
            harness.now = due - timedelta(seconds=1)
            await second.retries.retry_due()
            assert ([], {ORDER}) == (server.copies, await settled_mails(harness.store, [ORDER]))
            harness.now = due
            await second.retries.retry_due()
            assert 1 == len(server.copies)
            assert None is not harness.notification()["sent_at"]
            assert [] == harness.index

    play(scenario)


def test_a_paced_mail_that_fails_has_its_48_hours() -> None:
    """Waiting is no failure: the retention begins when the mail is due."""

    async def scenario(harness: MailHarness) -> None:
        async with serving(Script(answers={b"RCPT": b"450 later"})) as server:
            process = harness.process(server.port)
            due = harness.now + 100 * HOUR
            wait_until(harness, due)
            await process.handle(requested())
            harness.now = due + HOUR
            await process.retries.retry_due()
            assert (False, 1) == (harness.entry()["done"], harness.entry()["attempts"])
            assert None is harness.notification()["failed_at"]

    play(scenario)


def test_many_paced_mails_leave_room_in_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mail of another user enters the queue while many mails of one user wait for later hours."""
    monkeypatch.setattr(retry_queue, "PAGES_MAX", 1)

    async def scenario(harness: MailHarness) -> None:
        async with serving(Script(answers={b"RCPT": b"450 later"})) as server:
            process = harness.process(server.port)
            ids = [f"00000000-0000-4000-8000-{number:012x}" for number in range(0x1000, 0x1000 + 150)]
            for number, order_id in enumerate(ids):
                wait_until(harness, harness.now + 4 * HOUR + number * MINUTE, order_id)
                await process.handle(requested(order_id))
            assert [] == harness.index
            await process.handle(requested(OTHER))
            assert [OTHER] == harness.index
            assert set(ids) == await settled_mails(harness.store, ids)

    play(scenario)


def test_a_mail_whose_process_died_is_listed_again() -> None:
    """The repeated event lists it under its hour, where another process finds it."""

    async def scenario(harness: MailHarness) -> None:
        async with serving(Script()) as server:
            process = harness.process(server.port)
            due = harness.now + 4 * HOUR
            wait_until(harness, due)
            await process.handle(requested())
            name = f"{FIRST}:{due:%Y-%m-%dT%H}:0"
            harness.store.put(name, msgspec.json.encode({"ids": []}))
            assert set() == await settled_mails(harness.store, [ORDER])
            await process.handle(requested())
            assert [ORDER] == harness.store.read(name)["ids"]
            await sent_by(harness, harness.process(server.port), due)

    play(scenario)


def test_the_hours_move_on_while_two_processes_move_mails() -> None:
    """Each mail is sent once, and the first hour is saved once."""

    async def scenario(harness: MailHarness) -> None:
        async with serving(Script()) as server:
            processes = [harness.process(server.port) for _ in range(2)]
            due = harness.now + 50 * HOUR
            wait_until(harness, due)
            await processes[0].handle(requested())
            harness.now = due
            for each in (*processes, *processes):
                await each.retries.retry_due()
            assert 1 == len(server.copies)
            assert "2026-01-03T03:00:00Z" == harness.store.read(FIRST)["hour"]

    play(scenario)


async def sent_by(harness: MailHarness, process: Mailer, due: datetime) -> None:
    """Let a process send the mail when it is due."""
    harness.now = due
    await process.retries.retry_due()
    assert None is not harness.notification()["sent_at"]
