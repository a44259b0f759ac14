"""A mail whose outcome is unknown or that waits: one copy an hour at most, whatever asks for it again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from itertools import pairwise

import msgspec
import pytest

from chassis.errors import PermanentError, SidecarUnavailable, TransientError
from cli.ports import free_port
from services.notification import mail
from services.notification.mail_retry_queue import LEASE, RETENTION
from services.notification.settled_mails import settled_mails
from tests.unit.services.notification.mail_harness import HOUR, OTHER, MailHarness, Script, requested, serving, until
from tests.unit.services.sample_events import EVENT, ORDER

MINUTE = timedelta(minutes=1)


def run(scenario: Callable[[MailHarness], Awaitable[None]]) -> MailHarness:
    """Play it, and end what is left."""
    harness = MailHarness()

    async def play() -> None:
        try:
            await scenario(harness)
        finally:
            harness.close()
            await asyncio.sleep(0)

    asyncio.run(play())
    return harness


def test_a_server_that_answers_late_gets_one_copy() -> None:
    """The event is done long before; it is asked for again and again, here and in another process."""

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
                await second.retry_due()
            late.set()
            await until(lambda: harness.notification()["sent_at"] is not None)
            await until(lambda: [] == harness.index)
            assert 1 == len(server.copies)

    run(scenario)


def test_others_are_not_delayed_by_a_mail_that_waits_for_its_answer() -> None:
    """It is outside, and another one goes over another connection at once."""

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

    run(scenario)


@pytest.mark.parametrize("ending", [b"", b"what?"], ids=["dropped", "nonsense"])
def test_a_server_that_drops_after_the_dot_gets_a_copy_an_hour_later_then_two_hours_and_four(ending: bytes) -> None:
    """The mail may have been taken: later and later, up to eight hours, and after two days it is a dead letter."""
    sent: list[datetime] = []

    async def scenario(harness: MailHarness) -> None:
        async with serving(Script(to_dot=ending)) as server:
            process = harness.process(server.port)
            await process.handle(requested())
            for number in range(12 * 60):
                if len(sent) < len(server.copies):
                    sent.append(harness.now)
                harness.now += 5 * MINUTE
                await process.retry_due()
                if number % 20 == 0:
                    await process.handle(requested())

    harness = run(scenario)
    pauses = [(later - earlier) / HOUR for earlier, later in pairwise(sent)]
    assert [1, 2, 4] == [round(each) for each in pauses[:3]]
    assert {8} == {round(each) for each in pauses[3:]}
    assert harness.notification()["failed_at"] is not None
    assert "did not say" in harness.store.read(f"dead:{EVENT}")["reason"]
    assert RETENTION <= sent[-1] - sent[0] < RETENTION + 9 * HOUR
    assert [] == harness.index


@pytest.mark.parametrize(
    "answers",
    [{b"MAIL": b""}, {b"RCPT": b""}, {b"DATA": b""}, {b"RCPT": b"421 bye"}, {b"DATA": b"421 bye"}],
    ids=["mail", "rcpt", "data", "421 to rcpt", "421 to data"],
)
def test_a_server_that_goes_before_the_dot_gets_the_mail_soon(answers: dict[bytes, bytes]) -> None:
    """It has nothing: seconds later it is tried again, and holds up no other."""

    async def scenario(harness: MailHarness) -> None:
        async with serving(Script(answers=answers)) as server:
            process = harness.process(server.port)
            await process.handle(requested())
            assert timedelta(seconds=5) == harness.due_in()
            server.script.answers = {}
            await process.handle(requested(OTHER))
            assert 1 == len(server.copies)
            harness.now += timedelta(seconds=5)
            await process.retry_due()
            assert 2 == len(server.copies)
            assert None is not harness.notification()["sent_at"]
            assert [] == harness.index

    run(scenario)


def test_a_silent_server_holds_no_event_and_gets_the_mail_when_it_speaks() -> None:
    """As one that is frozen does: its network takes connections. The mail is its process's until then."""

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

    run(scenario)


def test_what_another_process_has_taken_over_is_not_sent() -> None:
    """The session that was forgotten for longer than its lease finds so before the dot."""

    async def scenario(harness: MailHarness) -> None:
        greets = asyncio.Event()
        async with serving(Script(greets=greets)) as server, serving(Script()) as other:
            first, second = harness.process(server.port), harness.process(other.port)
            await first.handle(requested())
            harness.now += LEASE
            await second.retry_due()
            assert None is not harness.notification()["sent_at"]
            greets.set()
            await until(lambda: not first._attempts)
            assert (0, 1) == (len(server.copies), len(other.copies))

    run(scenario)


@pytest.mark.parametrize(("is_late", "wait"), [(False, LEASE), (True, HOUR)], ids=["before the dot", "after it"])
def test_a_process_that_dies_with_a_session_hands_its_mail_on(is_late: bool, wait: timedelta) -> None:
    """Soon if the server cannot have it, else in an hour."""

    async def scenario(harness: MailHarness) -> None:
        never = asyncio.Event()
        script = Script(answers_dot=never) if is_late else Script(greets=never)
        async with serving(script) as server, serving(Script()) as other:
            dying, next_ = harness.process(server.port), harness.process(other.port)
            await dying.handle(requested())
            dying.close()
            harness.now += wait - MINUTE / 10
            await next_.retry_due()
            assert [] == other.copies
            harness.now += MINUTE
            await next_.retry_due()
            assert 1 == len(other.copies)
            never.set()

    run(scenario)


def test_an_unreachable_server_is_probed_later_and_later_and_all_mails_go_once_it_is_back() -> None:
    """One connection a probe, whatever there is to send; no event waits, and none is lost."""
    port = free_port()

    async def scenario(harness: MailHarness) -> None:
        process = harness.process(port)
        tried = []
        take = process._connections.open

        async def noted() -> object:
            tried.append(harness.now)
            return await take()

        process._connections.open = noted  # type: ignore[method-assign,assignment]  # it counts
        for order_id in (ORDER, OTHER):
            await process.handle(requested(order_id))
        begin = harness.now
        for _ in range(200):
            harness.now += timedelta(seconds=0.5)
            await process.retry_due()
        assert [0, 1, 3, 7, 15, 31, 61, 91] == [(each - begin).total_seconds() for each in tried]
        async with serving(Script(), port) as server:
            harness.now += timedelta(seconds=30)
            await process.retry_due()
            await process.retry_due()
            assert 2 == len(server.copies)
            assert [] == harness.index

    run(scenario)


def test_so_many_sessions_are_under_way_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next mail waits in the queue without one, and goes when there is room."""
    monkeypatch.setattr(mail, "SESSIONS_MAX", 1)

    async def scenario(harness: MailHarness) -> None:
        late = asyncio.Event()
        async with serving(Script(answers_dot=late)) as server:
            process = harness.process(server.port)
            await process.handle(requested())
            await process.handle(requested(OTHER))
            await process.retry_due()
            assert (1, 1) == (server.connections, len(server.copies))
            late.set()
            await until(lambda: harness.notification()["sent_at"] is not None and not process._attempts)
            await process.retry_due()
            assert None is not harness.notification(OTHER)["sent_at"]

    run(scenario)


def test_a_dead_letter_is_not_sent_again_but_by_its_replay() -> None:
    """Asked for again, 550 or not: nothing. Its letter replayed: once more, and then it is sent."""

    async def scenario(harness: MailHarness) -> None:
        async with serving(Script(answers={b"RCPT": b"550 no such user"})) as server:
            process = harness.process(server.port)
            with pytest.raises(PermanentError):
                await process.handle(requested())
            server.script.answers = {}
            await process.handle(requested())
            assert ([], {ORDER}) == (server.copies, await settled_mails(harness.store, [ORDER]))
            letter = harness.store.read(f"dead:{EVENT}")
            harness.store.put(f"dead:{EVENT}", msgspec.json.encode(letter | {"status": "discarded"}))
            await process.handle(requested())
            assert [] == server.copies
            harness.store.put(f"dead:{EVENT}", msgspec.json.encode(letter | {"status": "replayed"}))
            await process.handle(requested())
            await process.handle(requested())
            assert 1 == len(server.copies)
            assert None is not harness.notification()["sent_at"]

    run(scenario)


def test_a_replay_while_the_mail_is_given_up_is_not_forgotten() -> None:
    """The letter is there, its end is not noted yet, and it is replayed: tried once more at once."""

    async def scenario(harness: MailHarness) -> None:
        async with serving(Script(answers={b"RCPT": b"451 later"})) as server:
            process = harness.process(server.port)
            await process.handle(requested())
            server.script.answers = {b"RCPT": b"550 no such user"}
            write = process._dead_letters.write

            async def write_and_replay(topic: str, body: bytes, reason: str, traceparent: str) -> None:
                await write(topic, body, reason, traceparent)
                letter = harness.store.read(f"dead:{EVENT}")
                harness.store.put(f"dead:{EVENT}", msgspec.json.encode(letter | {"status": "replaying"}))
                await harness.process(server.port).handle(requested())

            process._dead_letters.write = write_and_replay  # type: ignore[method-assign]  # a quick hand
            harness.now += MINUTE
            await process.retry_due()
            assert [ORDER] == harness.index
            server.script.answers = {}
            await process.retry_due()
            assert (1, []) == (len(server.copies), harness.index)

    run(scenario)


def test_what_is_settled_is_sent_queued_and_listed_or_given_up() -> None:
    """Nothing else: not what was never asked for, and not what died between its entry and the index."""

    async def scenario(harness: MailHarness) -> None:
        async with serving(Script(answers={b"RCPT": b"451 later"})) as server:
            process = harness.process(server.port)
            assert set() == await settled_mails(harness.store, [ORDER, OTHER])
            await process.handle(requested())
            assert {ORDER} == await settled_mails(harness.store, [ORDER, OTHER])
            harness.store.put("mail-retry-index:0", b'{"ids":[]}')
            assert set() == await settled_mails(harness.store, [ORDER])
            await process.handle(requested())
            assert {ORDER} == await settled_mails(harness.store, [ORDER])
            server.script.answers = {}
            harness.now += MINUTE
            await process.retry_due()
            assert {ORDER} == await settled_mails(harness.store, [ORDER, OTHER])
            assert [] == harness.index

    run(scenario)


@pytest.mark.parametrize("number", range(2, 9))
@pytest.mark.parametrize("kind", ["refuse", "lose"])
@pytest.mark.parametrize("ending", ["unknown", "late", "silent"])
def test_a_store_that_goes_away_at_any_call_costs_no_second_copy(number: int, kind: str, ending: str) -> None:
    """Its event comes again until it is taken, and meanwhile nothing is sent that may have been."""

    async def scenario(harness: MailHarness) -> None:
        late = asyncio.Event()
        scripts = {"unknown": Script(to_dot=b""), "late": Script(answers_dot=late), "silent": Script(greets=late)}
        getattr(harness.store, kind)[number] = SidecarUnavailable("unreachable")
        async with serving(scripts[ending]) as server:
            process = harness.process(server.port)
            process.retry_seconds = 0.01
            for _ in range(5):
                try:
                    await process.handle(requested())
                except TransientError:
                    await asyncio.sleep(0.02)
            late.set()
            await until(lambda: not process._attempts)
            for _ in range(3):
                harness.now += LEASE
                await process.retry_due()
                await process.handle(requested())
            assert 1 == len(server.copies)
            assert {ORDER} == await settled_mails(harness.store, [ORDER])

    run(scenario)
