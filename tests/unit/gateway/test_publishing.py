"""Whether the broker takes events: found out by an event of the gateway's own."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from chassis.errors import SidecarUnavailable, SidecarUnreachable
from chassis.serve import LoopbackProbe, background
from gateway import publishing as module
from gateway.publishing import BROKER, FAILING, SIDECAR, NotSent, Publishing
from tests.unit.gateway.fakes import FakeSidecar, until


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing takes seconds."""
    monkeypatch.setattr(module, "PROBE_SECONDS", 0.01)
    monkeypatch.setattr(module, "BLOCKED_SECONDS", 0.01)
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.001)


def play(scenario: Callable[[FakeSidecar, Publishing], Awaitable[None]]) -> None:
    """Play one scenario."""

    async def run() -> None:
        sidecar = FakeSidecar()
        publishing = Publishing(sidecar, LoopbackProbe("replies", "gateway-0"))
        async with background(publishing.watch()):
            await scenario(sidecar, publishing)

    asyncio.run(run())


@pytest.mark.parametrize(("is_hung", "problem"), [(False, BROKER), (True, SIDECAR)])
def test_while_a_publish_does_not_return_nothing_more_is_sent(is_hung: bool, problem: str) -> None:
    """The sidecar would keep each of them; one event of the gateway's own is out at a time."""

    async def scenario(sidecar: FakeSidecar, publishing: Publishing) -> None:
        sidecar.publish_is_blocked, sidecar.is_hung = True, is_hung
        await until(lambda: publishing.problem == problem)

        for _ in range(100):
            with pytest.raises(NotSent):
                await publishing.publish("Lamp", b"{}")
        assert is_hung == publishing.is_sidecar_problem
        assert 1 == sidecar.publishes

    play(scenario)


def test_publishing_goes_on_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """As soon as the broker takes the event that is out, or the next one."""

    async def scenario(sidecar: FakeSidecar, publishing: Publishing) -> None:
        sidecar.publish_errors = [SidecarUnavailable("refused")]
        await until(lambda: publishing.problem == FAILING)
        await until(lambda: not publishing.problem)
        sidecar.publish_errors = [SidecarUnreachable("unreachable")]
        await until(lambda: publishing.problem == SIDECAR)
        await until(lambda: not publishing.problem)

        await publishing.publish("Lamp", b"{}")
        assert ("Lamp", {}) in sidecar.published

    play(scenario)


def test_while_events_are_taken_no_event_of_its_own_is_published(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy gateway knows already."""
    monkeypatch.setattr(module, "PROBE_SECONDS", 0.5)

    async def scenario(sidecar: FakeSidecar, publishing: Publishing) -> None:
        await until(lambda: len(sidecar.published) == 1)
        for _ in range(20):
            await publishing.publish("Lamp", b"{}")
            await asyncio.sleep(0.05)
        assert ["Lamp"] * 20 == [topic for topic, _ in sidecar.published[1:]]

    play(scenario)
