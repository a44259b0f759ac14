"""A paged index: no id is listed twice or lost, and its size is limited."""

import asyncio

import msgspec
import pytest

from sidecart.chassis import paged_index as module
from sidecart.chassis import store
from sidecart.chassis.errors import TransientError
from sidecart.chassis.paged_index import IndexFull, PagedIndex
from tests.unit.chassis.fakes import FakeSidecar


def test_a_removed_id_makes_room() -> None:
    """A new id takes the room of a removed one, and no page is deleted."""
    sidecar = FakeSidecar()

    async def scenario() -> list[str]:
        paged_index = PagedIndex(sidecar, "index")
        for number in range(101):
            await paged_index.add(str(number))
        await paged_index.remove("3")
        await paged_index.remove("unknown")
        await paged_index.add("new")
        return await paged_index.ids()

    ids = asyncio.run(scenario())

    assert 101 == len(ids)
    assert "3" not in ids
    assert "new" == sidecar.read("index:0")["ids"][-1]
    assert ["100"] == sidecar.read("index:1")["ids"]


def test_a_full_index_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    """An index with the maximum number of full pages raises IndexFull."""
    monkeypatch.setattr(module, "PAGE_IDS_MAX", 2)
    sidecar = FakeSidecar()

    async def scenario() -> None:
        paged_index = PagedIndex(sidecar, "index", pages_max=2)
        for number in range(4):
            await paged_index.add(str(number))
        await paged_index.add("3", is_new=False)
        with pytest.raises(IndexFull):
            await paged_index.add("4")

    asyncio.run(scenario())

    assert "index:2" not in sidecar.records


def test_a_lost_race_loses_no_id() -> None:
    """A page that changes between the load and the save of an add or a remove loses no id."""
    sidecar = FakeSidecar()

    async def scenario() -> list[str]:
        paged_index = PagedIndex(sidecar, "index")
        sidecar.before[2] = lambda: sidecar.put("index:0", msgspec.json.encode({"ids": ["theirs"]}))
        await paged_index.add("ours")
        sidecar.before[len(sidecar.calls) + 2] = lambda: sidecar.put("index:0", b'{"ids": ["theirs", "ours", "more"]}')
        await paged_index.remove("ours")
        return await paged_index.ids()

    assert ["theirs", "more"] == asyncio.run(scenario())


@pytest.mark.parametrize("change", ["add", "remove"])
def test_races_that_are_always_lost_are_a_transient_error(monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    """Repeated conflicts become a transient error, so that the caller retries later."""
    monkeypatch.setattr(store, "ATTEMPTS_MAX", 2)
    sidecar = FakeSidecar()
    sidecar.put("index:0", b'{"ids": ["one"]}')
    for number in (2, 4):
        sidecar.before[number] = lambda: sidecar.put("index:0", b'{"ids": ["one"]}')

    async def scenario() -> None:
        paged_index = PagedIndex(sidecar, "index")
        await (paged_index.add("two") if change == "add" else paged_index.remove("one"))

    with pytest.raises(TransientError, match="lost 2 races"):
        asyncio.run(scenario())
