"""The health poll: the answers of each app, each sidecar and the broker."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import httpx

from sidecart.launcher.servers.server import Broker
from sidecart.launcher.servers.valkey import Valkey
from sidecart.launcher.topics import Subscription
from sidecart.monitor.health import Health, HealthPoll

PORTS = {"gateway": 1, "gateway-sidecar": 2, "order-1": 3, "order-1-sidecar": 4}
TOKENS = {name: f"token of {name}" for name in PORTS}
HEALTHY = {1: (200, ""), 2: (204, ""), 3: (200, ""), 4: (204, "")}


def broker(waiting: Mapping[str, int] | None) -> Broker:
    """A broker with these backlogs by consumer and topic; None makes it unreachable."""

    class Stub(Valkey):
        def waiting(self, address: str, expected: Sequence[Subscription]) -> dict[Subscription, int]:
            if waiting is None:
                raise OSError("unreachable")
            return {one: waiting.get(f"{one.consumer_id} {one.topic}", 0) for one in expected}

    return Stub()


def polled(answers: Mapping[int, tuple[int, str]], waiting: Mapping[str, int] | None) -> list[Health]:
    """The health poll's result if ports answer like this; other ports are unreachable."""
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
            return await HealthPoll(PORTS, TOKENS, broker(waiting), "here").poll(client)

    found = asyncio.run(poll())
    assert {(PORTS[name], token) for name, token in TOKENS.items()} == tokens
    return found


def test_backlogs_of_a_replica_are_added_up() -> None:
    """A replica reads its service's subscriptions; a gateway reads its own."""
    waiting = {"order OrderPaymentCreated": 2, "order OrderCreateRequested": 3, "gateway-0 UserCreated": 1}

    assert [Health("gateway", "ready", "up", 1), Health("order-1", "ready", "up", 5)] == polled(HEALTHY, waiting)


def test_an_unhealthy_process_has_its_reason() -> None:
    """An app that is not ready names the missing services; an unreachable one has no answer."""
    answers = {1: (503, '{"missing": ["billing"]}'), 4: (500, "")}

    gateway, order = polled(answers, {})
    assert ('not ready: {"missing": ["billing"]}', "no answer") == (gateway.app, gateway.sidecar)
    assert ("no answer", "unhealthy: 500") == (order.app, order.sidecar)


def test_an_unreachable_broker_makes_backlogs_unknown() -> None:
    """The backlog is None instead of 0."""
    assert [None, None] == [each.waiting for each in polled(HEALTHY, None)]


def test_processes_of_other_hosts_are_asked_there() -> None:
    """In containers each process has a host of its own; without one it is this machine."""
    asked: set[str] = set()

    def answer(request: httpx.Request) -> httpx.Response:
        asked.add(f"{request.url.host}:{request.url.port}")
        return httpx.Response(200)

    async def poll() -> list[Health]:
        async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
            return await HealthPoll(PORTS, TOKENS, broker({}), "here", {"gateway": "there"}).poll(client)

    asyncio.run(poll())
    assert {"there:1", "127.0.0.1:2", "127.0.0.1:3", "127.0.0.1:4"} == asked
