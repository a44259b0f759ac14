"""The health of the store, and each retry loop on a store that refuses writes."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from services.notification.mail.retry_queue import MailRetryQueue
from services.notification.mail.retry_schedule import Mail
from sidecart.chassis.connections import Answer
from sidecart.chassis.dead_letters import DeadLetters
from sidecart.chassis.errors import WriteRefused
from sidecart.chassis.paged_index import PagedIndex
from sidecart.chassis.sidecar import Sidecar, connect
from sidecart.chassis.speculation import SpeculativeProcessor
from sidecart.chassis.store_health import StoreHealth
from sidecart.edge.command import build_command
from sidecart.edge.pending_index import PendingIndex
from sidecart.edge.pending_records import PendingRecords
from tests.unit.chassis.daprd import Daprd, daprd
from tests.unit.chassis.toy_service import AT, JARS, coin

USER = "0192f0c1-2a3b-7c4d-8e5f-60718293a4b5"
COMMAND = build_command("LampWanted", USER, f"/lamp/{USER}", {}, {"lamp_id": USER}, at=AT)
MAIL = Mail("{}", since=AT, due=AT)
LOOPS: dict[str, Callable[[Sidecar], Awaitable[object]]] = {
    "an event": lambda sidecar: SpeculativeProcessor(JARS, sidecar, lambda: AT).process("CoinPut", coin("c-1")),
    "a dead letter": lambda sidecar: DeadLetters(sidecar, lambda: AT).write("Lamp", b"{}", "why", ""),
    "an index": lambda sidecar: PagedIndex(sidecar, "index").add("1"),
    "an existing index": lambda sidecar: PagedIndex(sidecar, "old-index").add("1"),
    "a pending command": lambda sidecar: PendingRecords(sidecar, lambda: AT).add(COMMAND),
    "the page of pending commands": lambda sidecar: PendingIndex(sidecar, "gateway-0").add("l-1"),
    "a mail in the retry queue": lambda sidecar: MailRetryQueue(sidecar, lambda: AT, timedelta(minutes=1)).put(
        "o-1", MAIL
    ),
}


@pytest.mark.parametrize("status", [409, 500])
@pytest.mark.parametrize("loop", LOOPS)
def test_a_refused_write_is_not_retried_in_a_loop(loop: str, status: int) -> None:
    """A refused write costs one write of the record and one of the probe, with any status."""

    async def run() -> Daprd:
        async with daprd() as fake, connect(fake.port, "out-token") as sidecar:
            fake.state["old-index:0"] = b'{"ids": []}', 7
            fake.refuses_writes = status
            with pytest.raises(WriteRefused):
                await LOOPS[loop](sidecar)
            return fake

    fake = asyncio.run(run())

    assert 2 == sum(call.startswith("save") for call in fake.state_calls()), fake.state_calls()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"errorCode":"E","message":"failed saving state in state store statestore: no:\\n room"}', "no: room"),
        (b'{"errorCode":"E","message":"no room"}', "no room"),
        (b"no room", "500 b'no room'"),
        (b'{"message":"' + b"x" * 1_000 + b'"}', "x" * 200),
    ],
)
def test_the_reason_is_the_stores_own_in_one_bounded_line(body: bytes, reason: str) -> None:
    """The reported reason is the store's own message, on one line of at most 200 characters."""
    health = StoreHealth()
    health.refused(Answer(500, body))

    assert f"the store refuses writes: {reason}" == health.problem


def test_an_unreachable_store_affects_the_readiness_of_services_only() -> None:
    """An unreachable store is a problem for services, but not for the readiness of gateways.

    Otherwise a proxy would drop all gateways during a short outage, which each request detects
    anyway.
    """
    health = StoreHealth()
    before = health.write_problem
    health.written()
    health.failed(is_write=False)

    assert "no write to the store worked yet" == before
    assert ("the store is unreachable", "", False) == (health.problem, health.write_problem, health.is_healthy)
    health.read()
    assert ("", True) == (health.problem, health.is_healthy)
