"""Held requests: each reply reaches the requests that wait for it, and no others."""

import asyncio

import msgspec
import pytest

from sidecart.edge import held_requests
from sidecart.edge.held_requests import HeldRequests, Reply
from sidecart.edge.problems import Problem

REPLY = Reply("OrderCreated", msgspec.Raw(b"{}"))


def test_all_requests_that_wait_for_a_command_get_its_reply() -> None:
    """One event answers two requests with the same key."""

    async def scenario() -> None:
        held = HeldRequests()
        with held.hold("c-1") as first, held.hold("c-1") as second, held.hold("c-2") as other:
            held.settle("c-1", REPLY)

            assert (REPLY, REPLY) == (first.result(), second.result())
            assert not other.done()

    asyncio.run(scenario())


def test_a_finished_request_is_forgotten_and_a_late_reply_ignored() -> None:
    """Nothing remains of a request that ended without a reply."""

    async def scenario() -> None:
        held = HeldRequests()
        with held.hold("c-1"):
            assert held.is_waiting("c-1")
        held.settle("c-1", REPLY)

        assert not held.is_waiting("c-1")

    asyncio.run(scenario())


def test_the_end_of_one_request_leaves_the_other_held() -> None:
    """The second request still gets the reply."""

    async def scenario() -> None:
        held = HeldRequests()
        with held.hold("c-1") as second:
            with held.hold("c-1"):
                pass
            held.settle("c-1", REPLY)

            assert REPLY == second.result()

    asyncio.run(scenario())


def test_above_the_limit_a_request_is_503_until_another_one_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit counts requests, not commands."""
    monkeypatch.setattr(held_requests, "HELD_MAX", 2)

    async def scenario() -> None:
        held = HeldRequests()
        with held.hold("c-1"):
            with held.hold("c-1"), pytest.raises(Problem) as refused, held.hold("c-2"):
                pass

            assert (503, "1") == (refused.value.status, refused.value.headers["Retry-After"])
            with held.hold("c-2"):
                pass

    asyncio.run(scenario())


def test_release_ends_current_and_future_waits() -> None:
    """A reply that arrived before the release stays."""

    async def scenario() -> None:
        held = HeldRequests()
        with held.hold("c-1") as answered, held.hold("c-2") as waiting:
            held.settle("c-1", REPLY)
            held.release()
            with held.hold("c-3") as late:
                held.settle("c-3", REPLY)

                assert (REPLY, None, None) == (answered.result(), waiting.result(), late.result())

    asyncio.run(scenario())
