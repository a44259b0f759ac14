"""Pending records: written once, by ETag, within their limits."""

import asyncio
from datetime import UTC, datetime

import msgspec
import pytest

from sidecart.chassis.errors import SidecarUnavailable, TransientError
from sidecart.edge.command import Command
from sidecart.edge.pending_records import COMMANDS_MAX, RETENTION_SECONDS, PendingRecords, Rejection, TooManyCommands
from tests.unit.edge.fakes import FakeSidecar

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
COMMAND = Command("c-1", "OrderCreateRequested", "/order/o-1", b'{"id":"c-1"}', "u-1")
OTHER_BODY = Command("c-2", "OrderCreateRequested", "/order/o-1", b'{"id":"c-2"}')
REJECTION = Rejection(409, "email_taken", "taken")


def records(sidecar: FakeSidecar) -> PendingRecords:
    """Return records in this store."""
    return PendingRecords(sidecar, lambda: NOW)


def test_a_pending_command_is_written_for_a_week() -> None:
    """The record has everything that another replica needs to resume the command."""
    sidecar = FakeSidecar()

    added = asyncio.run(records(sidecar).add(COMMAND))

    written = {"id": "c-1", "topic": "OrderCreateRequested", "event": {"id": "c-1"}, "outcome": "pending"}
    expected = {
        "location": "/order/o-1",
        "changed_at": "2026-01-02T03:04:05.000Z",
        "commands": [written | {"rejection": None}],
        "owner": "u-1",
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


def test_a_second_body_is_stored_with_the_first_one() -> None:
    """Either command may reach the service first."""
    sidecar = FakeSidecar()

    asyncio.run(records(sidecar).add(COMMAND))
    asyncio.run(records(sidecar).add(OTHER_BODY))

    assert ["c-1", "c-2"] == [each["id"] for each in sidecar.read("pending:o-1")["commands"]]


def test_the_commands_of_a_resource_are_bounded() -> None:
    """Above the limit a command is refused, and nothing is written."""
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
    """The first outcome stays; `pending` never overwrites it."""
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


def test_concurrent_outcomes_are_both_stored() -> None:
    """The ETag decides which write is first; the other one loads the record again."""
    sidecar = FakeSidecar()

    async def scenario() -> None:
        await records(sidecar).add(COMMAND)
        await records(sidecar).add(OTHER_BODY)

        def other_writer(_key: str) -> None:
            sidecar.before_save = lambda _key: None
            record = sidecar.read("pending:o-1")
            record["commands"][0]["outcome"] = "confirmed"
            sidecar.put("pending:o-1", msgspec.json.encode(record))

        sidecar.before_save = other_writer
        record = await records(sidecar).settle("o-1", {"c-2": REJECTION})
        assert record is not None
        assert ["confirmed", "rejected"] == [each.outcome for each in record.commands]

    asyncio.run(scenario())


def test_an_outcome_without_a_record_changes_nothing() -> None:
    """The store has already expired the record."""
    sidecar = FakeSidecar()

    assert asyncio.run(records(sidecar).settle("o-1", {"c-1": None})) is None
    assert {} == sidecar.records


def test_an_unreachable_store_is_a_transient_error() -> None:
    """The command is not pending."""
    sidecar = FakeSidecar()
    sidecar.store_is_down = True

    with pytest.raises(SidecarUnavailable):
        asyncio.run(records(sidecar).add(COMMAND))


def test_a_race_that_is_always_lost_is_a_transient_error() -> None:
    """Another process always writes first."""
    sidecar = FakeSidecar()
    sidecar.before_save = lambda key: sidecar.put(
        key, b'{"location":"/order/o-1","changed_at":"2026-01-01T00:00:00Z","commands":[]}'
    )

    with pytest.raises(TransientError, match="lost 50 races"):
        asyncio.run(records(sidecar).add(COMMAND))
