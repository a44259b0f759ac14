"""An index in pages: nothing is listed twice, nothing is lost, and there is an end to it."""

import asyncio

import msgspec
import pytest

from chassis import paged_index as module
from chassis.errors import TransientError
from chassis.paged_index import IndexFull, PagedIndex
from tests.unit.chassis.fakes import FakeSidecar


def test_what_was_removed_makes_room() -> None:
    """The next id takes its place; pages stay."""
    sidecar = FakeSidecar()

    async def scenario() -> list[str]:
        paged_index = PagedIndex(sidecar, "index")
        for number in range(101):
            await paged_index.add(str(number))
        await paged_index.remove("3")
        await paged_index.remove("nobody")
        await paged_index.add("new")
        return await paged_index.ids()

    ids = asyncio.run(scenario())

    assert 101 == len(ids)
    assert "3" not in ids
    assert "new" == sidecar.read("index:0")["ids"][-1]
    assert ["100"] == sidecar.read("index:1")["ids"]


def test_a_full_index_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many pages and no more."""
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
    """Somebody else changed the page between our look and our write, of an add and of a remove."""
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
    """It is tried again from outside."""
    monkeypatch.setattr(module, "ATTEMPTS_MAX", 2)
    sidecar = FakeSidecar()
    sidecar.put("index:0", b'{"ids": ["one"]}')
    for number in (2, 4):
        sidecar.before[number] = lambda: sidecar.put("index:0", b'{"ids": ["one"]}')

    async def scenario() -> None:
        paged_index = PagedIndex(sidecar, "index")
        await (paged_index.add("two") if change == "add" else paged_index.remove("one"))

    with pytest.raises(TransientError, match="lost 2 races"):
        asyncio.run(scenario())
