"""Server-sent events: a snapshot first, then notices; a reconnecting viewer resumes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from sidecart.monitor import live as module
from sidecart.monitor.live import Live
from sidecart.monitor.ring import Ring


def new(size: int = 10) -> Live:
    """A stream with a constant snapshot."""
    return Live(lambda: {"all": True}, Ring("run", size))


async def read(events: AsyncIterator[bytes], count: int) -> list[str]:
    """The next `count` frames."""
    return [(await anext(events)).decode() for _ in range(count)]


def test_a_new_viewer_gets_a_snapshot_and_then_notices() -> None:
    """Each frame has an id, which the browser sends when it reconnects."""

    async def story() -> list[str]:
        live = new()
        live.notify("step", 1)
        events = live.stream()
        first = await read(events, 2)
        live.notify("step", 2)
        return first + await read(events, 1)

    assert [
        "retry: 1000\n\n",
        'id: run-1\nevent: snapshot\ndata: {"all":true}\n\n',
        "id: run-2\nevent: step\ndata: 2\n\n",
    ] == asyncio.run(story())


def test_a_reconnecting_viewer_gets_the_missed_notices() -> None:
    """It gets no snapshot, and also the notices that arrive while it reads."""

    async def story() -> list[str]:
        live = new()
        for number in (1, 2, 3):
            live.notify("step", number)
        events = live.stream("run-1")
        missed = await read(events, 2)
        live.notify("step", 4)
        return missed[1:] + await read(events, 2)

    assert [2, 3, 4] == [int(frame.split("data: ")[1]) for frame in asyncio.run(story())]


def test_a_viewer_from_an_earlier_session_gets_a_snapshot() -> None:
    """The tap was closed in between, so a reset ends open streams, and their viewers reconnect."""

    async def story() -> tuple[list[str], list[str]]:
        live = new()
        live.notify("step", 1)
        events = live.stream()
        await read(events, 2)
        live.reset()
        left = [frame.decode() async for frame in events]
        live.notify("tap", "opening")
        return left, await read(live.stream("run-1"), 2)

    left, reconnected = asyncio.run(story())
    assert [] == left
    assert "event: snapshot" in reconnected[1]


def test_a_viewer_that_reconnects_too_late_gets_a_snapshot() -> None:
    """Notices after the snapshot follow as usual."""

    async def story() -> list[str]:
        live = new(size=2)
        for number in (1, 2, 3, 4):
            live.notify("step", number)
        events = live.stream("run-1")
        snapshot = await read(events, 2)
        live.notify("step", 5)
        return snapshot[1:] + await read(events, 1)

    assert ["id: run-4\nevent: snapshot", "id: run-5\nevent: step"] == [
        frame.split("\ndata")[0] for frame in asyncio.run(story())
    ]


def test_the_stream_of_a_slow_viewer_ends() -> None:
    """The monitor has no queue per viewer; the viewer reconnects with its last id."""

    async def story() -> int:
        live = new(size=2)
        events = live.stream()
        await read(events, 2)
        for number in range(5):
            live.notify("step", number)
        with pytest.raises(StopAsyncIteration):
            await anext(events)
        return live.viewers.count

    assert 0 == asyncio.run(story())


def test_an_idle_stream_sends_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without them an intermediary could close the connection."""
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.01)

    async def story() -> list[str]:
        return await read(new().stream(), 4)

    assert [": heartbeat\n\n"] * 2 == asyncio.run(story())[2:]


def test_all_streams_end_when_the_process_stops() -> None:
    """An open stream would delay the shutdown."""

    async def story() -> bool:
        live = new()
        events = live.stream()
        await read(events, 2)
        waiting = asyncio.ensure_future(anext(events, None))
        await asyncio.sleep(0)
        live.close()
        return await waiting is None

    assert asyncio.run(story())
