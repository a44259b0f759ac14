"""The metrics of a gateway: held requests, accepted commands and late replies."""

import asyncio

import msgspec
from prometheus_client import REGISTRY

from gateway.app import SHOP
from sidecart.chassis.events import now
from sidecart.chassis.server.loopback_probe import LoopbackProbe
from sidecart.chassis.server.serve import background
from sidecart.chassis.server.shutdown import ShutdownSignal
from sidecart.edge.command import Command, Deadline, build_command
from sidecart.edge.held_requests import Reply
from sidecart.edge.settings import read
from sidecart.edge.wiring import Wiring
from tests.unit.chassis.telemetry.test_metrics import Counted
from tests.unit.edge.fakes import FakeSidecar, until

USER = "0192f0c1-2a3b-7c4d-8e5f-60718293a4b5"
TOPIC = "AccountDepositRequested"


def a_deposit() -> Command:
    """Return a command that deposits money."""
    body, ids = {"amount_cents": 1}, {"deposit_id": USER}
    return build_command(TOPIC, USER, f"/account/{USER}/deposit/{USER}", body, ids, at=now())


def reply(to: Command) -> bytes:
    """Return the event that answers a command."""
    data = {"deposit_id": USER, "user_id": USER, "balance_cents": 1}
    attributes = {"id": USER, "type": "AccountDeposited", "source": "billing", "correlationid": to.id}
    return msgspec.json.encode({**attributes, "data": data})


def test_held_accepted_and_late_requests_are_counted() -> None:
    """The gauges have the current numbers of held requests and pending commands."""
    sidecar, command, counted = FakeSidecar(), a_deposit(), Counted()
    wiring = Wiring.of(SHOP, sidecar, LoopbackProbe("replies", "gateway-0"), ShutdownSignal(), read({"AUTH": "off"}))
    dispatcher = wiring.commands_api.dispatcher

    async def scenario() -> list[float | None]:
        samples = []
        async with background(wiring.pending_worker.work()):
            await until(lambda: wiring.pending_commands.resumed)
            dispatched = asyncio.create_task(dispatcher.dispatch(command, Deadline(5)))
            await sidecar.was_published.wait()
            samples.append(REGISTRY.get_sample_value("sidecart_held_requests"))
            wiring.held.settle(command.id, Reply("AccountDeposited", msgspec.Raw(b"{}")))
            assert await dispatched is not None
            assert await dispatcher.dispatch(command, Deadline(0)) is None
            samples.append(REGISTRY.get_sample_value("sidecart_pending_commands"))
            await wiring.topics_of_replies["AccountDeposited"](reply(command))
            await until(lambda: wiring.pending_commands.count == 0)
            samples.append(REGISTRY.get_sample_value("sidecart_held_requests"))
        return samples

    assert [1, 1, 0] == asyncio.run(scenario())
    assert 2 == counted("sidecart_held_seconds_count", command=TOPIC)
    assert 1 == counted("sidecart_accepted_total", command=TOPIC)
    assert 1 == counted("sidecart_late_replies_total")
