"""The state of running services is read and written through their sidecars."""

from __future__ import annotations

import asyncio

import pytest

from sidecart.launcher.errors import LaunchError
from sidecart.launcher.ports import free_port
from sidecart.launcher.running_state import RunningState
from tests.unit.chassis.daprd import daprd


@pytest.mark.parametrize("status", [409, 500])
def test_a_refused_write_is_not_reported_as_a_concurrent_change(status: int) -> None:
    """The dead letter is unchanged, so the error is the store's reason instead of a conflict."""

    async def scenario() -> None:
        async with daprd() as fake:
            state = RunningState({"user-sidecar": fake.port}, {"user-sidecar": "token"})
            fake.state["dead:1"] = b"{}", 1
            assert await asyncio.to_thread(state.save, "user", "dead:1", {"status": "discarded"}, "1")
            assert not await asyncio.to_thread(state.save, "user", "dead:1", {"status": "discarded"}, "1")
            fake.refuses_writes = status
            with pytest.raises(LaunchError, match=r"refuses writes.*25006"):
                await asyncio.to_thread(state.save, "user", "dead:1", {"status": "open"}, "2")

    asyncio.run(scenario())


def test_an_unreachable_sidecar_is_named() -> None:
    """The message names the service and the command that shows more."""
    state = RunningState({"user-sidecar": free_port()}, {"user-sidecar": "token"})

    with pytest.raises(LaunchError, match=r"the state of user is unreachable .*sidecart status"):
        state.load("user", "dead:1")


def test_many_keys_are_read_in_one_call() -> None:
    """The values are in the order of their keys, None for an absent one; no key needs no call."""

    async def scenario() -> None:
        async with daprd() as fake:
            state = RunningState({"user-sidecar": fake.port}, {"user-sidecar": "token"})
            fake.state |= {"dead:1": (b'{"a": 1}', 1), "dead:2": (b"2", 1)}
            keys = ["dead:2", "dead:3", "dead:1"]
            assert [2, None, {"a": 1}] == await asyncio.to_thread(state.load_many, "user", keys)
            assert [] == await asyncio.to_thread(state.load_many, "user", [])
            assert 1 == len(fake.calls)
            fake.is_store_unreachable = True
            with pytest.raises(LaunchError, match="the state of user is unreachable"):
                await asyncio.to_thread(state.load_many, "user", keys)

    asyncio.run(scenario())


def test_a_free_key_is_inserted_once() -> None:
    """The second insert finds the first one."""

    async def scenario() -> None:
        async with daprd() as fake:
            state = RunningState({"gateway-sidecar": fake.port}, {"gateway-sidecar": "token"})
            assert await asyncio.to_thread(state.save, "gateway", "audit:0", {"who": "ann"}, None)
            assert not await asyncio.to_thread(state.save, "gateway", "audit:0", {"who": "bob"}, None)
            assert ({"who": "ann"}, "1") == await asyncio.to_thread(state.load, "gateway", "audit:0")

    asyncio.run(scenario())
