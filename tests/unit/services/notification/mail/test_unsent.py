"""Mails that their event does not send: in the retry queue, or dead letters until a replay."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import msgspec
import pytest

from services.notification.flows import settled_mails
from services.notification.mail import delivery
from sidecart.chassis.errors import PermanentError
from tests.unit.services.notification.mail.harness import (
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


def test_the_number_of_active_sessions_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mail without a free session waits in the queue and is sent later."""
    monkeypatch.setattr(delivery, "SESSIONS_MAX", 1)

    async def scenario(harness: MailHarness) -> None:
        late = asyncio.Event()
        async with serving(Script(answers_dot=late)) as server:
            process = harness.process(server.port)
            await process.handle(requested())
            await process.handle(requested(OTHER))
            await process.retries.retry_due()
            assert (1, 1) == (server.connections, len(server.copies))
            late.set()
            await until(lambda: harness.notification()["sent_at"] is not None and not process.delivery.attempts)
            await process.retries.retry_due()
            assert None is not harness.notification(OTHER)["sent_at"]

    play(scenario)


def test_only_a_replay_sends_the_mail_of_a_dead_letter() -> None:
    """A repeated event sends nothing; after a replay the mail is sent once."""

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

    play(scenario)


def test_a_replay_has_succeeded_once_its_mail_is_sent() -> None:
    """The dead letter of a mail in the retry queue still says `replaying`."""

    async def scenario(harness: MailHarness) -> None:
        async with serving(Script(answers={b"RCPT": b"550 no such user"})) as server:
            process = harness.process(server.port)
            with pytest.raises(PermanentError):
                await process.handle(requested())
            letter = harness.store.read(f"dead:{EVENT}")
            harness.store.put(f"dead:{EVENT}", msgspec.json.encode(letter | {"status": "replaying"}))
            server.script.answers = {b"RCPT": b"451 later"}
            await process.handle(requested())
            await process.settle_replay(requested())
            assert "replaying" == harness.store.read(f"dead:{EVENT}")["status"]

            server.script.answers = {}
            harness.now += MINUTE
            await process.retries.retry_due()
            await until(lambda: not process.delivery.attempts)
            assert "replayed" == harness.store.read(f"dead:{EVENT}")["status"]

            harness.store.put(f"dead:{EVENT}", msgspec.json.encode(letter | {"status": "replaying"}))
            await process.handle(requested())  # another replay of the sent mail
            await process.settle_replay(requested())
            assert ("replayed", 1) == (harness.store.read(f"dead:{EVENT}")["status"], len(server.copies))

    play(scenario)


def test_a_replay_during_the_give_up_is_not_lost() -> None:
    """A replay between the dead letter and `failed_at` causes one more attempt at once."""

    async def scenario(harness: MailHarness) -> None:
        async with serving(Script(answers={b"RCPT": b"451 later"})) as server:
            process = harness.process(server.port)
            await process.handle(requested())
            server.script.answers = {b"RCPT": b"550 no such user"}
            write = process.unsent.dead_letters.write

            async def write_and_replay(topic: str, body: bytes, reason: str, traceparent: str) -> None:
                await write(topic, body, reason, traceparent)
                letter = harness.store.read(f"dead:{EVENT}")
                harness.store.put(f"dead:{EVENT}", msgspec.json.encode(letter | {"status": "replaying"}))
                await harness.process(server.port).handle(requested())

            process.unsent.dead_letters.write = write_and_replay  # type: ignore[method-assign]  # replays within
            harness.now += MINUTE
            await process.retries.retry_due()
            assert [ORDER] == harness.index
            server.script.answers = {}
            await process.retries.retry_due()
            assert (1, []) == (len(server.copies), harness.index)

    play(scenario)
