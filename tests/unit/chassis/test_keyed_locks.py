"""Keyed locks: one task per key at a time."""

import asyncio

from sidecart.chassis.keyed_locks import KeyedLocks


def test_a_task_waits_for_a_key_that_is_held() -> None:
    """The second task enters after the first one has left."""

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
    """Two different keys can be held at the same time."""

    async def scenario() -> str:
        locks = KeyedLocks()
        async with locks.hold("a"), locks.hold("b"):
            return "both"

    assert "both" == asyncio.run(scenario())


def test_a_key_is_free_again_after_an_error() -> None:
    """An exception releases the key."""

    async def scenario() -> str:
        locks = KeyedLocks()
        try:
            async with locks.hold("a"):
                raise ValueError
        except ValueError:
            async with locks.hold("a"):
                return "again"

    assert "again" == asyncio.run(scenario())


def test_a_canceled_waiter_does_not_block_the_next_one() -> None:
    """A canceled waiter leaves the lock to the next one, which does not enter early."""

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


def test_an_unused_key_takes_no_memory() -> None:
    """The lock of a key is deleted when no task holds it or waits for it."""

    async def scenario() -> int:
        locks = KeyedLocks()
        async with locks.hold("a"), locks.hold("b"):
            assert 2 == len(locks._locks)
        return len(locks._locks)

    assert 0 == asyncio.run(scenario())
