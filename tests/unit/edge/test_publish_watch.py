"""The gateway detects by a probe event whether the broker accepts events."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from sidecart.chassis.errors import NotSent, SidecarUnavailable, SidecarUnreachable
from sidecart.chassis.server.loopback_probe import LoopbackProbe
from sidecart.chassis.server.serve import background
from sidecart.edge import publish_watch as module
from sidecart.edge.publish_watch import BROKER, FAILING, SIDECAR, PublishWatch
from tests.unit.edge.fakes import FakeSidecar, until


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten all intervals to milliseconds."""
    monkeypatch.setattr(module, "PROBE_SECONDS", 0.01)
    monkeypatch.setattr(module, "BLOCKED_SECONDS", 0.01)
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.001)


def play(scenario: Callable[[FakeSidecar, PublishWatch], Awaitable[None]]) -> None:
    """Run one scenario."""

    async def run() -> None:
        sidecar = FakeSidecar()
        watch = PublishWatch(sidecar, LoopbackProbe("replies", "gateway-0"))
        async with background(watch.run()):
            await scenario(sidecar, watch)

    asyncio.run(run())


@pytest.mark.parametrize(("is_hung", "problem"), [(False, BROKER), (True, SIDECAR)])
def test_while_publishing_is_blocked_no_command_is_sent(is_hung: bool, problem: str) -> None:
    """The sidecar would keep each of them. Only one probe event is in flight at a time."""

    async def scenario(sidecar: FakeSidecar, watch: PublishWatch) -> None:
        sidecar.publish_is_blocked, sidecar.is_hung = True, is_hung
        await until(lambda: watch.problem == problem)

        for _ in range(100):
            with pytest.raises(NotSent):
                await sidecar.publish("Lamp", b"{}")
        assert is_hung == watch.is_sidecar_problem
        assert 1 == sidecar.publishes

    play(scenario)


def test_publishing_resumes_without_intervention(monkeypatch: pytest.MonkeyPatch) -> None:
    """It resumes as soon as the broker accepts the pending probe event or the next one."""

    async def scenario(sidecar: FakeSidecar, watch: PublishWatch) -> None:
        sidecar.publish_errors = [SidecarUnavailable("refused")]
        await until(lambda: watch.problem == FAILING)
        await until(lambda: not watch.problem)
        sidecar.publish_errors = [SidecarUnreachable("unreachable")]
        await until(lambda: watch.problem == SIDECAR)
        await until(lambda: not watch.problem)

        await sidecar.publish("Lamp", b"{}")
        assert ("Lamp", {}) in sidecar.published

    play(scenario)


def test_while_events_are_accepted_no_probe_is_published(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every successful publish shows that publishing works."""
    monkeypatch.setattr(module, "PROBE_SECONDS", 0.5)

    async def scenario(sidecar: FakeSidecar, watch: PublishWatch) -> None:
        await until(lambda: len(sidecar.published) == 1)
        for _ in range(20):
            await sidecar.publish("Lamp", b"{}")
            await asyncio.sleep(0.05)
        assert ["Lamp"] * 20 == [topic for topic, _ in sidecar.published[1:]]

    play(scenario)
