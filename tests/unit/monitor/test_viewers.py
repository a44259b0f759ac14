"""Viewers: waiting for the first and for the last one."""

import asyncio

from sidecart.monitor.viewers import Viewers


def test_the_last_viewer_counts_after_the_grace_time() -> None:
    """A viewer that reconnects within the grace time was never gone."""

    async def story() -> list[bool]:
        viewers = Viewers()
        with viewers.connected():
            await viewers.wait_for_first()
            gone = asyncio.create_task(viewers.wait_until_idle(0.05))
            seen = [gone.done()]
        await asyncio.sleep(0.01)
        with viewers.connected():
            await asyncio.sleep(0.1)
            seen.append(gone.done())
        await gone
        return [*seen, gone.done()]

    assert [False, False, True] == asyncio.run(story())


def test_the_first_of_two_to_leave_is_not_the_last() -> None:
    """Each viewer is counted."""
    viewers = Viewers()
    with viewers.connected():
        with viewers.connected():
            assert 2 == viewers.count
        assert 1 == viewers.count
    assert 0 == viewers.count
