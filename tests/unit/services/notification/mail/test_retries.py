"""Temporarily refused mails are retried by any replica until sent, refused or too old."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import msgspec
import pytest

from services.notification.mail.mailer import Mailer
from services.notification.mail.retry_schedule import PAUSE_MAX, RETENTION
from sidecart.chassis.errors import TransientError
from sidecart.chassis.paged_index import PAGE_IDS_MAX, PagedIndex
from tests.unit.chassis.fakes import FakeSidecar
from tests.unit.services.notification.mail.harness import (
    BEGIN,
    OTHER,
    MailHarness,
    Script,
    Server,
    requested,
    serving,
    until,
)
from tests.unit.services.sample_events import EVENT, ORDER

MINUTE = timedelta(minutes=1)
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
BODY = msgspec.json.encode(msgspec.json.decode(requested()) | {"traceparent": TRACE})
LATER = {b"RCPT": b"451 4.7.1 later"}


def run(scenario: Callable[[MailHarness, Server, Mailer], Awaitable[None]]) -> MailHarness:
    """Run a scenario with a server that has just refused a mail with 451."""
    harness = MailHarness()

    async def play() -> None:
        async with serving(Script(answers=dict(LATER))) as server:
            process = harness.process(server.port)
            process.delivery.window_seconds = 10.0
            await process.handle(BODY)
            try:
                await scenario(harness, server, process)
            finally:
                harness.close()
                await asyncio.sleep(0)

    asyncio.run(play())
    return harness


async def attempts(harness: MailHarness, server: Server, process: Mailer, by: timedelta, times: int) -> list[datetime]:
    """Advance the clock `times` times and retry; return the time of each RCPT."""
    found = []
    for _ in range(times):
        harness.now += by
        before = server.commands.count(b"RCPT")
        await process.retries.retry_due()
        found += [harness.now] * (server.commands.count(b"RCPT") - before)
    return found


def test_the_delay_between_attempts_doubles() -> None:
    """The delays are 1, 2, 4, 8 and 16 minutes."""

    async def scenario(harness: MailHarness, server: Server, process: Mailer) -> None:
        found = await attempts(harness, server, process, timedelta(seconds=30), 62)
        assert [1, 3, 7, 15, 31] == [(each - BEGIN) / MINUTE for each in found]

    run(scenario)


def test_the_delay_between_attempts_is_bounded() -> None:
    """After a day the delay is still PAUSE_MAX, one hour."""

    async def scenario(harness: MailHarness, server: Server, process: Mailer) -> None:
        found = await attempts(harness, server, process, timedelta(minutes=10), 6 * 30)
        assert PAUSE_MAX == found[-1] - found[-2]

    run(scenario)


def test_an_accepted_mail_leaves_the_queue() -> None:
    """No process sends the mail again, not even one that starts later."""

    async def scenario(harness: MailHarness, server: Server, process: Mailer) -> None:
        server.script.answers = {}
        await attempts(harness, server, process, MINUTE, 1)
        await attempts(harness, server, harness.process(server.port), PAUSE_MAX, 2)
        assert 1 == len(server.copies)
        assert ([], True, "") == (harness.index, harness.entry()["done"], harness.entry()["event"])

    run(scenario)


def test_one_of_several_replicas_sends_a_due_mail() -> None:
    """The replica that claims the mail first sends it."""

    async def scenario(harness: MailHarness, server: Server, process: Mailer) -> None:
        harness.now += MINUTE
        others = [harness.process(server.port) for _ in range(3)]
        await asyncio.gather(*(each.retries.retry_due() for each in (process, *others)))
        assert 2 == server.commands.count(b"RCPT")

    run(scenario)


def test_after_two_days_a_deferred_mail_is_one_dead_letter() -> None:
    """The dead letter holds the last reply of the server and the traceparent of the event."""

    async def scenario(harness: MailHarness, server: Server, process: Mailer) -> None:
        found = await attempts(harness, server, process, timedelta(minutes=30), 2 * 48 + 4)
        assert RETENTION <= found[-1] - BEGIN < RETENTION + PAUSE_MAX + MINUTE

    harness = run(scenario)
    letter = harness.store.read(f"dead:{EVENT}")
    assert ("EmailRequested", BODY.decode(), TRACE) == (letter["topic"], letter["event"], letter["traceparent"])
    assert "451" in letter["reason"]
    assert "later" in letter["reason"]
    assert ([EVENT], []) == (harness.store.read("dead-index:0")["ids"], harness.index)
    assert None is not harness.notification()["failed_at"]


def test_a_queued_mail_that_is_refused_permanently_is_a_dead_letter() -> None:
    """The first 5xx reply ends the attempts."""

    async def scenario(harness: MailHarness, server: Server, process: Mailer) -> None:
        server.script.answers = {b"RCPT": b"550 no such user"}
        assert 1 == len(await attempts(harness, server, process, MINUTE, 5))
        assert "550" in harness.store.read(f"dead:{EVENT}")["reason"]
        assert [] == harness.index

    run(scenario)


def test_an_unreadable_entry_blocks_no_other_mail() -> None:
    """The queue logs the error, sends the other mail and keeps running."""

    async def scenario(harness: MailHarness, server: Server, process: Mailer) -> None:
        await process.handle(requested(OTHER))
        harness.store.put(f"mail-retry:{ORDER}", b"{}")
        server.script.answers = {}
        harness.now += MINUTE
        work = asyncio.create_task(process.run())
        await until(lambda: OTHER not in harness.index)
        assert not work.done()
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        assert 1 == len(server.copies)

    run(scenario)


@pytest.mark.parametrize("number", range(1, 14))
@pytest.mark.parametrize("kind", ["refuse", "lose"])
def test_a_sidecar_failure_at_any_call_loses_no_mail(number: int, kind: str) -> None:
    """A later poll finishes the interrupted work: one copy, `sent_at` set, an empty index."""

    async def scenario(harness: MailHarness, server: Server, process: Mailer) -> None:
        getattr(harness.store, kind)[len(harness.store.calls) + number] = TransientError("unreachable")
        process.background.retry_seconds = 0.01
        server.script.answers = {}
        for _ in range(4):
            harness.now += PAUSE_MAX
            try:
                await process.retries.retry_due()
            except TransientError:
                continue
        await until(lambda: not process.delivery.attempts)
        assert 1 == len(server.copies)
        assert [] == harness.index
        assert None is not harness.notification()["sent_at"]

    run(scenario)


def test_an_index_finds_room_that_another_process_freed() -> None:
    """A page that was full at the last read takes a new id after a removal."""

    async def scenario() -> list[str]:
        store = FakeSidecar()
        pages, other = PagedIndex(store, "index", 1), PagedIndex(store, "index", 1)
        ids = [f"id {number}" for number in range(PAGE_IDS_MAX)]
        for each in ids:
            await pages.add(each)
        pages._page = 1  # the page number that it keeps after a full page
        await other.ids()
        await other.remove(ids[7])
        await pages.add("new")
        return await pages.ids()

    found = asyncio.run(scenario())
    assert (PAGE_IDS_MAX, "new") == (len(found), found[-1])
