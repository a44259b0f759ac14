"""Server-sent events: a snapshot first, then what happens; who comes back goes on where he was."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from monitor import live as module
from monitor.live import Live
from monitor.ring import Ring


def new(size: int = 10) -> Live:
    """One whose snapshot is always the same."""
    return Live(lambda: {"all": True}, Ring("run", size))


async def read(events: AsyncIterator[bytes], count: int) -> list[str]:
    """The next so many frames."""
    return [(await anext(events)).decode() for _ in range(count)]


def test_a_newcomer_gets_all_there_is_and_then_what_happens() -> None:
    """Each with an id, so that the browser can say where it was."""

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


def test_who_comes_back_gets_what_he_missed_and_no_snapshot() -> None:
    """Also what is told while he reads it."""

    async def story() -> list[str]:
        live = new()
        for number in (1, 2, 3):
            live.notify("step", number)
        events = live.stream("run-1")
        missed = await read(events, 2)
        live.notify("step", 4)
        return missed[1:] + await read(events, 2)

    assert [2, 3, 4] == [int(frame.split("data: ")[1]) for frame in asyncio.run(story())]


def test_who_comes_back_after_nobody_looked_gets_everything_anew() -> None:
    """What passed meanwhile was seen by nobody; one who looks just then is let go, and comes back as well."""

    async def story() -> tuple[list[str], list[str]]:
        live = new()
        live.notify("step", 1)
        events = live.stream()
        await read(events, 2)
        live.reset()
        left = [frame.decode() async for frame in events]
        live.notify("tap", "opening")
        return left, await read(live.stream("run-1"), 2)

    left, anew = asyncio.run(story())
    assert [] == left
    assert "event: snapshot" in anew[1]


def test_who_comes_back_too_late_gets_everything_anew() -> None:
    """And goes on from there."""

    async def story() -> list[str]:
        live = new(size=2)
        for number in (1, 2, 3, 4):
            live.notify("step", number)
        events = live.stream("run-1")
        anew = await read(events, 2)
        live.notify("step", 5)
        return anew[1:] + await read(events, 1)

    assert ["id: run-4\nevent: snapshot", "id: run-5\nevent: step"] == [
        frame.split("\ndata")[0] for frame in asyncio.run(story())
    ]


def test_who_reads_too_slowly_is_let_go() -> None:
    """Nothing is kept for him; he comes back with the id of what he read last."""

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


def test_silence_is_broken_by_a_comment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else whatever is between might take the connection for dead."""
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.01)

    async def story() -> list[str]:
        return await read(new().stream(), 4)

    assert [": still here\n\n"] * 2 == asyncio.run(story())[2:]


def test_everybody_is_sent_away_when_the_process_ends() -> None:
    """An open stream would hold up the stop."""

    async def story() -> bool:
        live = new()
        events = live.stream()
        await read(events, 2)
        waiting = asyncio.ensure_future(anext(events, None))
        await asyncio.sleep(0)
        live.close()
        return await waiting is None

    assert asyncio.run(story())
