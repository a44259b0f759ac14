"""How everybody is: by what each app, each sidecar and the broker say."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

import httpx

from cli.servers.registry import BROKERS, Broker
from cli.topics import Subscription
from monitor.health import Health, HealthPoll

PORTS = {"gateway": 1, "gateway-sidecar": 2, "order-1": 3, "order-1-sidecar": 4}
WELL = {1: (200, ""), 2: (204, ""), 3: (200, ""), 4: (204, "")}


def broker(waiting: Mapping[str, int] | None) -> Broker:
    """One that says how many events of a topic wait for each consumer, or is unreachable."""

    def output(address: str, expected: Sequence[Subscription]) -> dict[Subscription, int]:
        if waiting is None:
            raise OSError("unreachable")
        return {one: waiting.get(f"{one.consumer_id} {one.topic}", 0) for one in expected}

    return replace(BROKERS["redis"], undelivered=output)


def looked(answers: Mapping[int, tuple[int, str]], waiting: Mapping[str, int] | None) -> list[Health]:
    """What is found when ports answer so; one that is not there does not."""
    tokens: set[tuple[int, str | None]] = set()

    def answer(request: httpx.Request) -> httpx.Response:
        port = request.url.port or 0
        tokens.add((port, request.headers.get("dapr-api-token")))
        if port not in answers:
            raise httpx.ConnectError("unreachable")
        status, text = answers[port]
        return httpx.Response(status, text=text)

    async def poll() -> list[Health]:
        async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
            return await HealthPoll(PORTS, "app", "dapr", broker(waiting), "here").poll(client)

    found = asyncio.run(poll())
    assert {(1, "app"), (3, "app"), (2, "dapr"), (4, "dapr")} == tokens
    return found


def test_everybody_is_healthy_and_what_waits_is_added_up() -> None:
    """A replica of a service reads what its service reads; a gateway what is its own."""
    waiting = {"order OrderPaymentCreated": 2, "order OrderCreateRequested": 3, "gateway-0 UserCreated": 1}

    assert [Health("gateway", "ready", "up", 1), Health("order-1", "ready", "up", 5)] == looked(WELL, waiting)


def test_who_is_unhealthy_says_why_and_who_is_unreachable_says_nothing() -> None:
    """An app that is not ready names what is missing."""
    answers = {1: (503, '{"missing": ["billing"]}'), 4: (500, "")}

    gateway, order = looked(answers, {})
    assert ('not ready: {"missing": ["billing"]}', "no answer") == (gateway.app, gateway.sidecar)
    assert ("no answer", "unhealthy: 500") == (order.app, order.sidecar)


def test_a_broker_that_is_unreachable_leaves_the_number_open() -> None:
    """It is not nought."""
    assert [None, None] == [each.waiting for each in looked(WELL, None)]
