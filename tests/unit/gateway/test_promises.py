"""A promise is kept until its reply is seen."""

import asyncio

import pytest

from chassis.errors import SidecarAway
from gateway import promises as module
from gateway.problems import Problem
from gateway.promises import Command, Promises
from tests.unit.gateway.fakes import FakeSidecar

COMMAND = Command("c-1", "OrderCreateRequested", "/order/o-1", b'{"id": "c-1"}')
OTHER_BODY = Command("c-2", "OrderCreateRequested", "/order/o-1", b'{"id": "c-2"}')
REFUSAL = Problem(409, "email_taken", "taken")


def test_the_command_is_published_again_until_it_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when publishing fails in between."""
    monkeypatch.setattr(module, "BACKOFF_SECONDS", (0.001,))

    async def scenario() -> None:
        sidecar = FakeSidecar()
        sidecar.publish_errors = [SidecarAway("away")]
        promises = Promises(sidecar)
        assert promises.make(COMMAND)
        await sidecar.was_published.wait()
        promises.settle("c-1", None)
        await asyncio.gather(*promises._tasks)

        assert ("OrderCreateRequested", {"id": "c-1"}) == sidecar.published[0]
        assert not promises.promised("/order/o-1")

    asyncio.run(scenario())


def test_a_refusal_is_what_whoever_asks_for_the_resource_gets() -> None:
    """The same problem that the held caller would have got."""

    async def scenario() -> None:
        promises = Promises(FakeSidecar())
        promises.make(COMMAND)
        promises.settle("c-1", REFUSAL)

        with pytest.raises(Problem) as told:
            promises.promised("/order/o-1")
        assert told.value is REFUSAL
        await promises.close()

    asyncio.run(scenario())


def test_another_command_refused_for_the_same_resource_hides_nothing() -> None:
    """key_reused is said to its own caller only."""

    async def scenario() -> None:
        promises = Promises(FakeSidecar())
        promises.make(COMMAND)
        promises.make(OTHER_BODY)
        promises.settle("c-2", Problem(422, "key_reused", "reused"))

        assert promises.promised("/order/o-1")
        await promises.close()

    asyncio.run(scenario())


def test_a_reply_to_nobody_changes_nothing() -> None:
    """Most replies are for others."""
    promises = Promises(FakeSidecar())

    promises.settle("c-9", REFUSAL)

    assert not promises.promised("/order/o-1")


def test_the_oldest_refusal_is_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their memory is bounded."""
    monkeypatch.setattr(module, "REFUSALS_MAX", 1)

    async def scenario() -> None:
        promises = Promises(FakeSidecar())
        for number in range(2):
            promises.make(Command(f"c-{number}", "T", f"/order/{number}", b"{}"))
            promises.settle(f"c-{number}", REFUSAL)

        assert not promises.promised("/order/0")
        with pytest.raises(Problem):
            promises.promised("/order/1")
        await promises.close()

    asyncio.run(scenario())
