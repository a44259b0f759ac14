"""The index of pending commands: written before a 202, read after a restart."""

import asyncio

import pytest

from sidecart.chassis.errors import SidecarUnavailable
from sidecart.edge import pending_index as module
from sidecart.edge.pending_index import IndexFull, PendingIndex
from tests.unit.edge.fakes import FakeSidecar

KEY = "pending-index:gateway-0:0"


def test_a_restart_reads_the_ids_in_order() -> None:
    """Another replica has its own pages."""
    sidecar = FakeSidecar()

    async def scenario() -> None:
        index = PendingIndex(sidecar, "gateway-0")
        for resource in ("o-2", "o-1", "o-3"):
            await index.add(resource)
        assert ["o-2", "o-1", "o-3"] == await PendingIndex(sidecar, "gateway-0").read()
        assert [] == await PendingIndex(sidecar, "gateway-1").read()

    asyncio.run(scenario())


def test_concurrent_ids_share_a_write() -> None:
    """All ids that arrive during a write share the next one."""
    sidecar = FakeSidecar()

    async def scenario() -> None:
        index = PendingIndex(sidecar, "gateway-0")
        await asyncio.gather(*(index.add(f"o-{number}") for number in range(50)))

    asyncio.run(scenario())

    assert 50 == len(sidecar.read(KEY)["ids"])
    assert len(sidecar.saves) <= 2


def test_the_next_write_removes_a_discarded_id() -> None:
    """Its place is free again."""
    sidecar = FakeSidecar()

    async def scenario() -> None:
        index = PendingIndex(sidecar, "gateway-0")
        await index.add("o-1")
        index.discard("o-1")
        index.discard("o-1")
        await index.add("o-2")

    asyncio.run(scenario())

    assert ["o-2"] == sidecar.read(KEY)["ids"]


def test_an_id_that_exists_costs_no_write() -> None:
    """A resource is in the index once."""
    sidecar = FakeSidecar()

    async def scenario() -> None:
        index = PendingIndex(sidecar, "gateway-0")
        await index.add("o-1")
        await index.add("o-1")

    asyncio.run(scenario())

    assert [KEY] == sidecar.saves


def test_pages_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the last page is full, `add` raises IndexFull."""
    monkeypatch.setattr(module, "PAGE_IDS_MAX", 2)
    monkeypatch.setattr(module, "PAGES_MAX", 2)
    sidecar = FakeSidecar()

    async def scenario() -> None:
        index = PendingIndex(sidecar, "gateway-0")
        for number in range(4):
            await index.add(f"o-{number}")
        with pytest.raises(IndexFull):
            await index.add("o-4")
        assert 4 == len(await PendingIndex(sidecar, "gateway-0").read())

    asyncio.run(scenario())


def test_an_unreachable_store_raises_an_error() -> None:
    """The next write includes the id, unless it was discarded."""
    sidecar = FakeSidecar()
    sidecar.store_is_down = True

    async def scenario() -> None:
        index = PendingIndex(sidecar, "gateway-0")
        with pytest.raises(SidecarUnavailable):
            await index.add("o-1")
        index.discard("o-1")
        sidecar.store_is_down = False
        await index.add("o-2")

    asyncio.run(scenario())

    assert ["o-2"] == sidecar.read(KEY)["ids"]
