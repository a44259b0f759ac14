"""The topics on which a gateway reads its replies, and the requests that they settle."""

import asyncio
from collections.abc import Mapping

import msgspec
import pytest

from gateway.app import SHOP
from sidecart.chassis.errors import PermanentError
from sidecart.chassis.events import now
from sidecart.edge.commands_api import Responses
from sidecart.edge.erasures_api import Forgetting
from sidecart.edge.held_requests import HeldRequests
from sidecart.edge.known_resources import KnownResources
from sidecart.edge.pending_commands import PendingCommands
from sidecart.edge.replies import Replies
from tests.unit.edge.fakes import FakeSidecar

COMMAND_ID = "0192f0c1-2a3b-7c4d-8e5f-60718293a4b5"
OWN = {"Replies-gateway-3-user", "Replies-gateway-3-billing", "Replies-gateway-3-order"}


class Gateway:
    """The parts of a gateway that handle replies."""

    def __init__(self, reply_to: str) -> None:
        sidecar = FakeSidecar()
        pending_commands = PendingCommands(sidecar, "gateway-3", now)
        self.held = HeldRequests()
        known = KnownResources(sidecar, pending_commands)
        forgetting = Forgetting(pending_commands, known, None)
        replies = Replies(SHOP, Responses(SHOP), self.held, pending_commands, known, forgetting)
        self.handlers = replies.handlers(reply_to)

    def receive(self, topic: str, event: Mapping[str, object]) -> str | None:
        """Hold a request, deliver an event on a topic, and return the type of the reply."""

        async def scenario() -> str | None:
            with self.held.hold(COMMAND_ID) as reply:
                await self.handlers[topic](msgspec.json.encode(event))
                found = reply.result() if reply.done() else None
                return None if found is None else found.topic

        return asyncio.run(scenario())


def deposited(**changes: object) -> dict[str, object]:
    """Return the event that answers the command, with these changes."""
    data = {"deposit_id": COMMAND_ID, "user_id": COMMAND_ID, "balance_cents": 1}
    attributes = {"id": COMMAND_ID, "type": "AccountDeposited", "source": "billing", "correlationid": COMMAND_ID}
    return {**attributes, "data": data, **changes}


def test_one_gateway_reads_the_topics_of_all_replies() -> None:
    """No reply is addressed to it."""
    gateway = Gateway("")

    assert set(SHOP.command_of_reply) == set(gateway.handlers)
    assert "AccountDeposited" == gateway.receive("AccountDeposited", deposited())


def test_each_of_several_gateways_reads_its_own_topics() -> None:
    """One for each service that replies, and the shared topic of erasures."""
    gateway = Gateway("gateway-3")

    assert {*OWN, "UserErased"} == set(gateway.handlers)
    assert "AccountDeposited" == gateway.receive("Replies-gateway-3-billing", deposited(replyto="gateway-3"))


@pytest.mark.parametrize(
    "changes", [{"type": "OrderCreated"}, {"type": "BillingAccountCreated"}, {"source": "order"}, {"source": "user"}]
)
def test_a_reply_topic_takes_the_replies_of_its_service_only(changes: dict[str, object]) -> None:
    """A sidecar's scope guards the topic; the type and the source are checked again."""
    with pytest.raises(PermanentError):
        Gateway("gateway-3").receive("Replies-gateway-3-billing", deposited(**changes))
