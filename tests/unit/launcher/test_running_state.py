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
