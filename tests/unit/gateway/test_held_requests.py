"""The held request: replies find those who wait, and nobody else."""

import asyncio

import msgspec
import pytest

from gateway import held_requests
from gateway.held_requests import HeldRequests, Reply
from gateway.problems import Problem

REPLY = Reply("OrderCreated", msgspec.Raw(b"{}"))


def test_all_who_wait_for_a_command_get_its_reply() -> None:
    """Two requests with the same key are answered by one event."""

    async def scenario() -> None:
        registry = HeldRequests()
        with registry.hold("c-1") as first, registry.hold("c-1") as second, registry.hold("c-2") as other:
            registry.settle("c-1", REPLY)

            assert (REPLY, REPLY) == (first.result(), second.result())
            assert not other.done()

    asyncio.run(scenario())


def test_who_left_is_forgotten_and_a_late_reply_is_ignored() -> None:
    """Nothing is kept of a request that was answered otherwise."""

    async def scenario() -> None:
        registry = HeldRequests()
        with registry.hold("c-1"):
            assert registry.is_waiting("c-1")
        registry.settle("c-1", REPLY)

        assert not registry.is_waiting("c-1")

    asyncio.run(scenario())


def test_one_of_two_leaving_leaves_the_other_held() -> None:
    """The second one still gets the reply."""

    async def scenario() -> None:
        registry = HeldRequests()
        with registry.hold("c-1") as stays:
            with registry.hold("c-1"):
                pass
            registry.settle("c-1", REPLY)

            assert REPLY == stays.result()

    asyncio.run(scenario())


def test_a_request_too_many_is_refused_with_503_until_one_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound counts requests, not commands."""
    monkeypatch.setattr(held_requests, "HELD_MAX", 2)

    async def scenario() -> None:
        registry = HeldRequests()
        with registry.hold("c-1"):
            with registry.hold("c-1"), pytest.raises(Problem) as refused, registry.hold("c-2"):
                pass

            assert (503, "1") == (refused.value.status, refused.value.headers["Retry-After"])
            with registry.hold("c-2"):
                pass

    asyncio.run(scenario())


def test_released_nobody_waits_any_longer() -> None:
    """Who waits gets nothing, at once, and so does who comes after; a reply that came before stays."""

    async def scenario() -> None:
        registry = HeldRequests()
        with registry.hold("c-1") as answered, registry.hold("c-2") as waiting:
            registry.settle("c-1", REPLY)
            registry.release()
            with registry.hold("c-3") as late:
                registry.settle("c-3", REPLY)

                assert (REPLY, None, None) == (answered.result(), waiting.result(), late.result())

    asyncio.run(scenario())
