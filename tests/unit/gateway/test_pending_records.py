"""What is written down of a pending command: once, by ETag, within its limits."""

import asyncio
from datetime import UTC, datetime

import msgspec
import pytest

from chassis.errors import SidecarUnavailable, TransientError
from gateway.command import Command
from gateway.pending_records import COMMANDS_MAX, RETENTION_SECONDS, PendingRecords, Rejection, TooManyCommands
from tests.unit.gateway.fakes import FakeSidecar

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
COMMAND = Command("c-1", "OrderCreateRequested", "/order/o-1", b'{"id":"c-1"}')
OTHER_BODY = Command("c-2", "OrderCreateRequested", "/order/o-1", b'{"id":"c-2"}')
REJECTION = Rejection(409, "email_taken", "taken")


def records(sidecar: FakeSidecar) -> PendingRecords:
    """Records in a store."""
    return PendingRecords(sidecar, lambda: NOW)


def test_a_pending_command_is_written_by_its_resource_for_a_week() -> None:
    """Everything that another replica needs to go on with it."""
    sidecar = FakeSidecar()

    added = asyncio.run(records(sidecar).add(COMMAND))

    written = {"id": "c-1", "topic": "OrderCreateRequested", "event": {"id": "c-1"}, "outcome": "pending"}
    expected = {
        "location": "/order/o-1",
        "changed_at": "2026-01-02T03:04:05.000Z",
        "commands": [written | {"rejection": None}],
    }
    assert expected == sidecar.read("pending:o-1")
    assert {"pending:o-1": RETENTION_SECONDS} == sidecar.ttl_seconds
    assert "pending" == added.outcome


def test_the_same_command_is_written_once() -> None:
    """A repeated request finds its pending command."""
    sidecar = FakeSidecar()

    asyncio.run(records(sidecar).add(COMMAND))
    asyncio.run(records(sidecar).add(COMMAND))

    assert ["pending:o-1"] == sidecar.saves


def test_another_body_is_carried_beside_the_first_one() -> None:
    """Nobody knows yet which of them its service will see first."""
    sidecar = FakeSidecar()

    asyncio.run(records(sidecar).add(COMMAND))
    asyncio.run(records(sidecar).add(OTHER_BODY))

    assert ["c-1", "c-2"] == [each["id"] for each in sidecar.read("pending:o-1")["commands"]]


def test_the_commands_of_a_resource_are_bounded() -> None:
    """One more than fits into a record is refused, and nothing is written."""
    sidecar = FakeSidecar()

    async def scenario() -> None:
        for number in range(COMMANDS_MAX):
            await records(sidecar).add(Command(str(number), "T", "/order/o-1", b"{}"))
        with pytest.raises(TooManyCommands):
            await records(sidecar).add(Command("more", "T", "/order/o-1", b"{}"))

    asyncio.run(scenario())

    assert COMMANDS_MAX == len(sidecar.read("pending:o-1")["commands"])


@pytest.mark.parametrize(("rejection", "outcome"), [(None, "confirmed"), (REJECTION, "rejected")])
def test_an_outcome_is_written_once_and_its_event_dropped(rejection: Rejection | None, outcome: str) -> None:
    """The first one stays, and pending never overwrites it."""
    sidecar = FakeSidecar()

    async def scenario() -> None:
        await records(sidecar).add(COMMAND)
        await records(sidecar).settle("o-1", {"c-1": rejection})
        await records(sidecar).settle("o-1", {"c-1": Rejection(422, "key_reused", "later")})
        again = await records(sidecar).add(COMMAND)
        assert (outcome, rejection) == (again.outcome, again.rejection)

    asyncio.run(scenario())

    assert 2 == len(sidecar.saves)
    assert sidecar.read("pending:o-1")["commands"][0]["event"] is None


def test_an_outcome_that_meets_another_writer_keeps_both() -> None:
    """The ETag decides who is first; the second one reads again."""
    sidecar = FakeSidecar()

    async def scenario() -> None:
        await records(sidecar).add(COMMAND)
        await records(sidecar).add(OTHER_BODY)

        def somebody_else(_key: str) -> None:
            sidecar.before_save = lambda _key: None
            record = sidecar.read("pending:o-1")
            record["commands"][0]["outcome"] = "confirmed"
            sidecar.put("pending:o-1", msgspec.json.encode(record))

        sidecar.before_save = somebody_else
        record = await records(sidecar).settle("o-1", {"c-2": REJECTION})
        assert record is not None
        assert ["confirmed", "rejected"] == [each.outcome for each in record.commands]

    asyncio.run(scenario())


def test_an_outcome_of_a_pending_command_that_is_gone_changes_nothing() -> None:
    """The store forgot it."""
    sidecar = FakeSidecar()

    assert asyncio.run(records(sidecar).settle("o-1", {"c-1": None})) is None
    assert {} == sidecar.records


def test_a_store_that_is_unreachable_is_a_transient_error() -> None:
    """Nothing is pending."""
    sidecar = FakeSidecar()
    sidecar.store_is_down = True

    with pytest.raises(SidecarUnavailable):
        asyncio.run(records(sidecar).add(COMMAND))


def test_a_race_that_is_lost_without_end_is_a_transient_error() -> None:
    """Others always write first."""
    sidecar = FakeSidecar()
    sidecar.before_save = lambda key: sidecar.put(
        key, b'{"location":"/order/o-1","changed_at":"2026-01-01T00:00:00Z","commands":[]}'
    )

    with pytest.raises(TransientError, match="not written"):
        asyncio.run(records(sidecar).add(COMMAND))
