"""The audit trail: an entry before each action, one outcome, no gap, and no lost entry."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from sidecart.chassis import audit_trail as module
from sidecart.chassis.audit_trail import BEGUN, PAGE_ENTRIES_MAX, AuditTrail, TrailFull
from sidecart.chassis.errors import SidecarUnavailable
from tests.unit.edge.fakes import FakeSidecar


def trail(store: FakeSidecar) -> AuditTrail:
    """Return a trail that a new process would use."""
    return AuditTrail(store, lambda: datetime(2026, 1, 15, 9, 30, tzinfo=UTC))


def test_an_entry_precedes_its_action_and_gets_one_outcome() -> None:
    """The first outcome stays."""

    async def scenario() -> None:
        store = FakeSidecar()
        entry = await trail(store).begin("boss", "cli", "replay", "group 1", 3)
        begun = (await trail(store).newest())[0]
        await trail(store).end(entry, "completed", {"replayed": 3})
        await trail(store).end(entry, "interrupted")
        ended = (await trail(store).newest())[0]

        assert ("boss", "cli", "replay", "group 1", 3, BEGUN) == (
            begun.who,
            begun.via,
            begun.action,
            begun.target,
            begun.count,
            begun.outcome,
        )
        assert ("completed", {"replayed": 3}) == (ended.outcome, ended.results)
        assert begun.at == ended.at == ended.ended_at

    asyncio.run(scenario())


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 8, 20, 150])
def test_the_numbers_have_no_gap(count: int) -> None:
    """Each process finds the end of the trail by itself; pages lead back to the first entry."""

    async def scenario() -> None:
        store = FakeSidecar()
        for _ in range(count):
            await trail(store).begin("boss", "cli", "replay", "all", 1)
        numbers: list[int] = []
        before: int | None = None
        while page := await trail(store).newest(before):
            assert len(page) <= PAGE_ENTRIES_MAX
            numbers += [each.number for each in page]
            before = numbers[-1]

        assert list(range(count - 1, -1, -1)) == numbers

    asyncio.run(scenario())


def test_concurrent_operators_lose_no_entry() -> None:
    """Each gets a number of its own, also through a trail that remembers the end."""

    async def scenario() -> None:
        store = FakeSidecar()
        store.store_seconds = 0.001
        trails = [trail(store) for _ in range(5)]
        for _ in range(3):
            await asyncio.gather(
                *(each.begin(f"o{number}", "page", "discard", "", 1) for number, each in enumerate(trails))
            )

        found = await trail(store).newest()
        assert list(range(14, -1, -1)) == [each.number for each in found]
        assert {f"o{number}": 3 for number in range(5)} == {
            who: sum(each.who == who for each in found) for who in {each.who for each in found}
        }

    asyncio.run(scenario())


def test_a_full_trail_refuses_the_action(monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry would otherwise be lost."""
    monkeypatch.setattr(module, "ENTRIES_MAX", 2)

    async def scenario() -> None:
        store = FakeSidecar()
        for _ in range(2):
            await trail(store).begin("boss", "cli", "replay", "all", 1)
        with pytest.raises(TrailFull):
            await trail(store).begin("boss", "cli", "replay", "all", 1)

    asyncio.run(scenario())


def test_without_a_store_nothing_begins() -> None:
    """The error reaches the caller, who must not act."""

    async def scenario() -> None:
        store = FakeSidecar()
        store.store_is_down = True
        with pytest.raises(SidecarUnavailable):
            await trail(store).begin("boss", "cli", "replay", "all", 1)

    asyncio.run(scenario())


def test_texts_are_cut() -> None:
    """An entry has a bounded size."""

    async def scenario() -> None:
        entry = await trail(FakeSidecar()).begin("w" * 1_000, "cli", "replay", "t" * 1_000, 1)
        assert (module.TEXT_CHARACTERS_MAX,) * 2 == (len(entry.who), len(entry.target))

    asyncio.run(scenario())
