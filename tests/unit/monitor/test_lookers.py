"""Lookers: the first and the last one can be waited for."""

import asyncio

from monitor.lookers import Lookers


def test_the_last_one_counts_only_when_nobody_comes_back() -> None:
    """Who comes back within the grace time was never gone."""

    async def story() -> list[bool]:
        lookers = Lookers()
        with lookers.one_more():
            await lookers.somebody()
            gone = asyncio.create_task(lookers.nobody_for(0.05))
            seen = [gone.done()]
        await asyncio.sleep(0.01)
        with lookers.one_more():
            await asyncio.sleep(0.1)
            seen.append(gone.done())
        await gone
        return [*seen, gone.done()]

    assert [False, False, True] == asyncio.run(story())


def test_one_of_two_who_leaves_is_not_the_last() -> None:
    """They are counted."""
    lookers = Lookers()
    with lookers.one_more():
        with lookers.one_more():
            assert 2 == lookers.count
        assert 1 == lookers.count
    assert 0 == lookers.count
