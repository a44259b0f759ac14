"""`update` changes a value by its ETag while other processes write it; locks order tasks by key."""

import asyncio

import pytest

from sidecart.chassis import store as module
from sidecart.chassis.errors import TransientError
from sidecart.chassis.store import ABSENT, KeyedLocks, update
from tests.unit.chassis.fakes import FakeSidecar


def append(value: bytes | None) -> tuple[bytes | None, int]:
    """Append an exclamation mark; the result is the new length."""
    changed = (value or b"") + b"!"
    return changed, len(changed)


def test_a_lost_race_is_repeated_with_the_value_of_the_winner() -> None:
    """The change sees what the other process wrote."""
    sidecar = FakeSidecar()
    sidecar.before[2] = lambda: sidecar.put("key", b"theirs")

    assert 7 == asyncio.run(update(sidecar, "key", append))
    assert b"theirs!" == sidecar.records["key"][0]
    assert ["load key", "save key", "load key", "save key"] == sidecar.calls


def test_a_change_that_returns_none_writes_nothing() -> None:
    """`update` returns the result all the same."""
    sidecar = FakeSidecar()

    assert "as it is" == asyncio.run(update(sidecar, "key", lambda _: (None, "as it is")))
    assert ["load key"] == sidecar.calls


@pytest.mark.parametrize("is_absent", [True, False])
def test_a_value_that_the_caller_knows_costs_no_load(is_absent: bool) -> None:
    """The save verifies it; after a lost race the value is loaded."""
    sidecar = FakeSidecar()
    if not is_absent:
        sidecar.put("key", b"theirs")

    length = asyncio.run(update(sidecar, "key", append, loaded=ABSENT))

    assert (1 if is_absent else 7) == length
    assert ["save key"] + ([] if is_absent else ["load key", "save key"]) == sidecar.calls


def test_races_that_are_always_lost_are_a_transient_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller retries later."""
    monkeypatch.setattr(module, "ATTEMPTS_MAX", 2)
    sidecar = FakeSidecar()
    for number in (2, 4):
        sidecar.before[number] = lambda: sidecar.put("key", b"theirs")

    with pytest.raises(TransientError, match="key: lost 2 races"):
        asyncio.run(update(sidecar, "key", append))


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
