"""Tests of the baseline's handler on a real server: a guess saves the load, and nothing else."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from typing import Any

import msgspec
import pytest
import valkey as client_of
from aiohttp import ClientSession

from bench.baseline.direct import Direct
from bench.baseline.handler import Handler
from bench.baseline.service import program_of
from services.billing.events import AccountDepositRequested, OrderPaymentRequested, UserCreated
from sidecart.chassis.events import CloudEvent, now, timestamp
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.processes import Processes
from sidecart.launcher.servers import valkey

USER, DEPOSIT, ORDER, OTHER_ORDER = (str(uuid.uuid5(uuid.NAMESPACE_DNS, name)) for name in "abcd")
PAY_BEFORE = timestamp(now() + timedelta(hours=1))
OPENED = UserCreated(USER)
DEPOSITED = AccountDepositRequested(DEPOSIT, USER, 1_000)
PAYMENT = OrderPaymentRequested(ORDER, USER, 300, PAY_BEFORE)
OTHER_PAYMENT = OrderPaymentRequested(OTHER_ORDER, USER, 50, PAY_BEFORE)


class Published:
    """Records the events that the service publishes."""

    def __init__(self) -> None:
        self.events: list[bytes] = []

    async def publish(self, topic: str, event: bytes) -> None:
        """Record an event."""
        self.events.append(msgspec.json.decode(event, type=CloudEvent).data)


class Process:
    """One process of the Billing Service."""

    def __init__(self, address: str, session: ClientSession) -> None:
        self.published = Published()
        broker: Any = self.published
        self._direct = Direct(f"redis://{address}", "billing", broker, session, {})
        self._handler = Handler(program_of("billing").service, self._direct)

    async def take(self, event: Any) -> bytes:
        """Process an event, with the same id each time; return the reply."""
        topic, known = type(event).__name__, len(self.published.events)
        body = CloudEvent(
            id=str(uuid.uuid5(uuid.NAMESPACE_DNS, repr(event))),
            type=topic,
            source=program_of("billing").service.publishers[topic],
            subject=USER,
            correlationid=str(uuid.uuid5(uuid.NAMESPACE_DNS, repr(event))),
            time=timestamp(now()),
            data=msgspec.Raw(msgspec.json.encode(event)),
        )
        await self._handler.handle(topic, msgspec.json.encode(body))
        [reply] = self.published.events[known:]
        return bytes(reply)

    async def balance_cents(self) -> int:
        """Return the balance in the record of the account."""
        value, _ = await self._direct.load(f"account:{USER}")
        state = msgspec.json.decode(value or b"")["state"]
        return int(state["balance_cents"])

    async def close(self) -> None:
        """Disconnect."""
        await self._direct.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a server for the module; return its address."""
    processes = Processes(tmp_path_factory.mktemp("logs"))
    try:
        yield valkey.Valkey().start(processes, tmp_path_factory.mktemp("data"), Deadline())
    finally:
        processes.stop([valkey.NAME], valkey.STOP_SECONDS)


@pytest.fixture
def client(server: str) -> Iterator[client_of.Valkey]:
    """A client of the empty server."""
    with client_of.Valkey.from_url(f"redis://{server}") as client:
        client.flushall()
        yield client


def run(address: str, of: Callable[[Process, Process], Awaitable[None]]) -> None:
    """Run a test with two processes of the service."""

    async def both() -> None:
        async with ClientSession() as session:
            processes = Process(address, session), Process(address, session)
            try:
                await of(*processes)
            finally:
                for each in processes:
                    await each.close()

    asyncio.run(both())


def loads(client: client_of.Valkey) -> int:
    """Return how often a process has loaded a record; a save reads by another command."""
    found: Any = client.info("commandstats")
    return int(found.get("cmdstat_hmget", {"calls": 0})["calls"])


def test_a_new_event_of_a_remembered_account_loads_nothing(server: str, client: client_of.Valkey) -> None:
    """The account is paid in and charged without a load."""

    async def of(one: Process, _: Process) -> None:
        await one.take(OPENED)
        client.config_resetstat()
        await one.take(DEPOSITED)
        await one.take(PAYMENT)

        assert 0 == loads(client)
        assert 700 == await one.balance_cents()
        assert 1 == loads(client)

    run(server, of)


def test_a_repeated_payment_is_charged_once(server: str, client: client_of.Valkey) -> None:
    """The process remembers the account, so only the payment's record shows the repetition."""

    async def of(one: Process, _: Process) -> None:
        for event in (OPENED, DEPOSITED):
            await one.take(event)
        first = await one.take(PAYMENT)
        await one.take(OTHER_PAYMENT)

        assert first == await one.take(PAYMENT)
        assert 650 == await one.balance_cents()

    run(server, of)


def test_an_outdated_record_is_not_saved(server: str, client: client_of.Valkey) -> None:
    """Another process has charged the account meanwhile; both payments count."""

    async def of(one: Process, two: Process) -> None:
        for event in (OPENED, DEPOSITED):
            await one.take(event)
        await two.take(PAYMENT)
        await one.take(OTHER_PAYMENT)

        assert 650 == await one.balance_cents()

    run(server, of)


def test_a_repeated_creation_keeps_the_record(server: str, client: client_of.Valkey) -> None:
    """The event that most likely opens an account may find one, with money."""

    async def of(one: Process, two: Process) -> None:
        first = await one.take(OPENED)
        await one.take(DEPOSITED)

        assert first == await two.take(OPENED)
        assert 1_000 == await two.balance_cents()

    run(server, of)
