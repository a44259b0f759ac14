"""The lowest gateway with a heartbeat works for those without one."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from sidecart.chassis.reply_topics import REQUESTERS
from sidecart.edge.replicas import LOST_SECONDS, Replicas
from tests.unit.edge.fakes import FakeSidecar

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def replica(sidecar: FakeSidecar, number: int, seconds: float = 0) -> Replicas:
    """Return the view of one gateway, `seconds` after START."""
    return Replicas(sidecar, f"gateway-{number}", lambda: START + timedelta(seconds=seconds))


def lost(number: int, beats: dict[int, float], at: float) -> list[str]:
    """Return the gateways that this one works for, after these heartbeats."""
    sidecar = FakeSidecar()

    async def scenario() -> list[str]:
        for each, seconds in beats.items():
            await replica(sidecar, each, seconds).beat()
        return await replica(sidecar, number, at).lost()

    return asyncio.run(scenario())


def test_the_lowest_running_gateway_works_for_all_that_do_not_run() -> None:
    """Those that never ran are among them: an earlier version wrote no heartbeat."""
    found = lost(1, {0: 0, 1: 40, 2: 40}, at=40)

    assert [name for name in REQUESTERS if name not in ("gateway-1", "gateway-2")] == found


def test_no_other_gateway_does() -> None:
    """Two would publish each command twice."""
    assert [] == lost(2, {0: 0, 1: 40, 2: 40}, at=40)


@pytest.mark.parametrize(("seconds", "is_lost"), [(LOST_SECONDS - 1, False), (LOST_SECONDS, True)])
def test_a_gateway_is_lost_after_the_time(seconds: float, is_lost: bool) -> None:
    """Not before: it may be slow."""
    assert is_lost == ("gateway-1" in lost(0, {0: seconds, 1: 0}, at=seconds))


def test_a_gateway_counts_itself_as_running() -> None:
    """Its own heartbeat may be late."""
    assert "gateway-0" not in lost(0, {}, at=0)


def test_a_gateway_with_another_name_works_for_none() -> None:
    """It has no place in the sequence."""
    sidecar = FakeSidecar()

    assert [] == asyncio.run(Replicas(sidecar, "edge", lambda: START).lost())


def test_heartbeats_go_on_when_the_store_is_back() -> None:
    """The next one follows; none is needed in between."""
    sidecar = FakeSidecar()
    sidecar.store_is_down = True

    async def scenario() -> None:
        beating = asyncio.create_task(replica(sidecar, 0).keep_alive())
        await asyncio.sleep(0)
        assert not beating.done()
        beating.cancel()

    asyncio.run(scenario())
