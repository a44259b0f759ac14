"""Keyed locks: one key, one at a time."""

import asyncio

from chassis.keyed_locks import KeyedLocks


def test_who_wants_a_key_that_is_held_waits_for_it() -> None:
    """The second enters after the first has left."""

    async def scenario() -> list[str]:
        locks, waiters, seen = KeyedLocks(), asyncio.Event(), list[str]()

        async def second() -> None:
            waiters.set()
            async with locks.hold("a"):
                seen.append("second enters")

        async with asyncio.TaskGroup() as group, locks.hold("a"):
            group.create_task(second())
            await waiters.wait()
            seen.append("first leaves")
        return seen

    assert ["first leaves", "second enters"] == asyncio.run(scenario())


def test_another_key_is_free() -> None:
    """Holding one key keeps nobody from another."""

    async def scenario() -> str:
        locks = KeyedLocks()
        async with locks.hold("a"), locks.hold("b"):
            return "both"

    assert "both" == asyncio.run(scenario())


def test_a_key_is_free_again_after_an_error() -> None:
    """Who fails gives the turn back."""

    async def scenario() -> str:
        locks = KeyedLocks()
        try:
            async with locks.hold("a"):
                raise ValueError
        except ValueError:
            async with locks.hold("a"):
                return "again"

    assert "again" == asyncio.run(scenario())


def test_who_gives_up_waiting_holds_up_nobody() -> None:
    """A cancelled waiter leaves the turn to the one behind it, and neither enters early."""

    async def scenario() -> list[str]:
        locks, seen = KeyedLocks(), list[str]()

        async def wait(name: str, started: asyncio.Event) -> None:
            started.set()
            async with locks.hold("a"):
                seen.append(name)

        async with asyncio.TaskGroup() as group, locks.hold("a"):
            starts = asyncio.Event(), asyncio.Event()
            quitter = group.create_task(wait("quitter", starts[0]))
            group.create_task(wait("stayer", starts[1]))
            await starts[1].wait()
            quitter.cancel()
            seen.append("first leaves")
        return seen

    assert ["first leaves", "stayer"] == asyncio.run(scenario())


def test_nothing_is_kept_of_a_key_that_nobody_wants() -> None:
    """The memory does not grow with the keys that were ever seen."""

    async def scenario() -> int:
        locks = KeyedLocks()
        async with locks.hold("a"), locks.hold("b"):
            assert 2 == len(locks._locks)
        return len(locks._locks)

    assert 0 == asyncio.run(scenario())
