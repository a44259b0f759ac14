"""Sessions that outlast their events, and outcomes that stay unknown: one copy an hour at most."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from services.notification.flows import settled_mails
from services.notification.mail.retry_schedule import LEASE, RETENTION
from sidecart.chassis.errors import SidecarUnavailable, TransientError
from tests.unit.services.notification.mail.harness import (
    HOUR,
    OTHER,
    MailHarness,
    Script,
    play,
    requested,
    serving,
    until,
)
from tests.unit.services.sample_events import EVENT, ORDER

MINUTE = timedelta(minutes=1)


def test_a_server_that_replies_late_gets_one_copy() -> None:
    """Repeated events in two processes send no second copy while the reply is pending."""

    async def scenario(harness: MailHarness) -> None:
        late = asyncio.Event()
        async with serving(Script(answers_dot=late)) as server:
            first, second = harness.process(server.port), harness.process(server.port)
            await first.handle(requested())
            assert HOUR == harness.due_in()
            for _ in range(5):
                await first.handle(requested())
                await second.handle(requested())
                harness.now += 5 * MINUTE
                await second.retries.retry_due()
            late.set()
            await until(lambda: harness.notification()["sent_at"] is not None)
            await until(lambda: [] == harness.index)
            assert 1 == len(server.copies)

    play(scenario)


def test_a_mail_that_waits_for_its_reply_delays_no_other() -> None:
    """The session runs in the background; the next mail uses another connection at once."""

    async def scenario(harness: MailHarness) -> None:
        late = asyncio.Event()
        async with serving(Script(answers_dot=late)) as server:
            process = harness.process(server.port)
            await process.handle(requested())
            server.script.answers_dot = None
            await process.handle(requested(OTHER))
            assert (None, False) == (harness.notification()["sent_at"], harness.notification(OTHER)["sent_at"] is None)
            late.set()
            await until(lambda: harness.notification()["sent_at"] is not None)

    play(scenario)


@pytest.mark.parametrize("ending", [b"", b"what?"], ids=["dropped", "nonsense"])
def test_after_an_unknown_outcome_copies_follow_one_two_four_and_eight_hours_later(ending: bytes) -> None:
    """The delay doubles up to eight hours; after two days the mail is a dead letter."""
    sent: list[datetime] = []

    async def scenario(harness: MailHarness) -> None:
        async with serving(Script(to_dot=ending)) as server:
            process = harness.process(server.port)
            await process.handle(requested())
            for number in range(12 * 60):
                if len(sent) < len(server.copies):
                    sent.append(harness.now)
                harness.now += 5 * MINUTE
                await process.retries.retry_due()
                if number % 20 == 0:
                    await process.handle(requested())

    harness = play(scenario)
    pauses = [(later - earlier) / HOUR for earlier, later in pairwise(sent)]
    assert [1, 2, 4] == [round(each) for each in pauses[:3]]
    assert {8} == {round(each) for each in pauses[3:]}
    assert harness.notification()["failed_at"] is not None
    assert "did not confirm" in harness.store.read(f"dead:{EVENT}")["reason"]
    assert RETENTION <= sent[-1] - sent[0] < RETENTION + 9 * HOUR
    assert [] == harness.index


@pytest.mark.parametrize(
    "answers",
    [{b"MAIL": b""}, {b"RCPT": b""}, {b"DATA": b""}, {b"RCPT": b"421 bye"}, {b"DATA": b"421 bye"}],
    ids=["mail", "rcpt", "data", "421 to rcpt", "421 to data"],
)
def test_after_a_connection_lost_before_the_dot_the_mail_is_retried_soon(answers: dict[bytes, bytes]) -> None:
    """The server has no mail, so the retry follows 5 s later and delays no other mail."""

    async def scenario(harness: MailHarness) -> None:
        async with serving(Script(answers=answers)) as server:
            process = harness.process(server.port)
            await process.handle(requested())
            assert timedelta(seconds=5) == harness.due_in()
            server.script.answers = {}
            await process.handle(requested(OTHER))
            assert 1 == len(server.copies)
            harness.now += timedelta(seconds=5)
            await process.retries.retry_due()
            assert 2 == len(server.copies)
            assert None is not harness.notification()["sent_at"]
            assert [] == harness.index

    play(scenario)


def test_a_silent_server_blocks_no_event_and_gets_the_mail_when_it_greets() -> None:
    """A frozen server accepts connections; the first process keeps its claim on the mail."""

    async def scenario(harness: MailHarness) -> None:
        greets = asyncio.Event()
        async with serving(Script(greets=greets)) as server:
            first, second = harness.process(server.port), harness.process(server.port)
            await first.handle(requested())
            assert LEASE == harness.due_in()
            await second.handle(requested())
            assert 1 == server.connections
            greets.set()
            await until(lambda: [] == harness.index)
            assert 1 == len(server.copies)
            assert None is not harness.notification()["sent_at"]

    play(scenario)


def test_a_session_does_not_send_a_mail_that_another_process_claimed() -> None:
    """A session whose lease has expired detects the other claim before the dot."""

    async def scenario(harness: MailHarness) -> None:
        greets = asyncio.Event()
        async with serving(Script(greets=greets)) as server, serving(Script()) as other:
            first, second = harness.process(server.port), harness.process(other.port)
            await first.handle(requested())
            harness.now += LEASE
            await second.retries.retry_due()
            assert None is not harness.notification()["sent_at"]
            greets.set()
            await until(lambda: not first.delivery.attempts)
            assert (0, 1) == (len(server.copies), len(other.copies))

    play(scenario)


@pytest.mark.parametrize(("is_late", "wait"), [(False, LEASE), (True, HOUR)], ids=["before the dot", "after the dot"])
def test_another_process_sends_the_mail_of_a_dead_process(is_late: bool, wait: timedelta) -> None:
    """The mail is due after the lease if the dot was not sent, else after an hour."""

    async def scenario(harness: MailHarness) -> None:
        never = asyncio.Event()
        script = Script(answers_dot=never) if is_late else Script(greets=never)
        async with serving(script) as server, serving(Script()) as other:
            dying, next_ = harness.process(server.port), harness.process(other.port)
            await dying.handle(requested())
            dying.close()
            harness.now += wait - MINUTE / 10
            await next_.retries.retry_due()
            assert [] == other.copies
            harness.now += MINUTE
            await next_.retries.retry_due()
            assert 1 == len(other.copies)
            never.set()

    play(scenario)


@pytest.mark.parametrize("number", range(2, 9))
@pytest.mark.parametrize("kind", ["refuse", "lose"])
@pytest.mark.parametrize("ending", ["unknown", "late", "silent"])
def test_a_store_failure_at_any_call_causes_no_second_copy(number: int, kind: str, ending: str) -> None:
    """The event is redelivered until it succeeds, and the mail is sent once."""

    async def scenario(harness: MailHarness) -> None:
        late = asyncio.Event()
        scripts = {"unknown": Script(to_dot=b""), "late": Script(answers_dot=late), "silent": Script(greets=late)}
        getattr(harness.store, kind)[number] = SidecarUnavailable("unreachable")
        async with serving(scripts[ending]) as server:
            process = harness.process(server.port)
            process.background.retry_seconds = 0.01
            for _ in range(5):
                try:
                    await process.handle(requested())
                except TransientError:
                    await asyncio.sleep(0.02)
            late.set()
            await until(lambda: not process.delivery.attempts)
            for _ in range(3):
                harness.now += LEASE
                await process.retries.retry_due()
                await process.handle(requested())
            assert 1 == len(server.copies)
            assert {ORDER} == await settled_mails(harness.store, [ORDER])

    play(scenario)
