"""Viewers: the first and the last one can be waited for."""

import asyncio

from monitor.viewers import Viewers


def test_the_last_one_counts_only_when_nobody_comes_back() -> None:
    """Who comes back within the grace time was never gone."""

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


def test_one_of_two_who_leaves_is_not_the_last() -> None:
    """They are counted."""
    viewers = Viewers()
    with viewers.connected():
        with viewers.connected():
            assert 2 == viewers.count
        assert 1 == viewers.count
    assert 0 == viewers.count
