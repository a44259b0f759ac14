"""The flows that commands start: detects whether a flow has ended and rebuilds its command.

A service at which flows end answers `GET /unfinished/<kind>/<ids>` by invocation (WIRE.md, section
12).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec

from gateway.command import Command, build_command
from gateway.command_declarations import ORDER, REGISTER


class _Status(msgspec.Struct):
    status: str = ""


def _never(_body: bytes) -> bool:
    return False


def _is_pending_order(body: bytes) -> bool:
    return msgspec.json.decode(body, type=_Status).status == "payment_pending"


@dataclass(frozen=True, slots=True)
class FlowKind:
    """One kind of flow: user registration or order placement."""

    name: str
    topic: str
    """The command that starts the flow; if it is repeated, each service repeats its outputs."""
    owner: str
    """The app-id of the service that answers `/<name>/<id>` with the created resource."""
    id_field: str
    fields: tuple[str, ...]
    """The fields of the owner's answer that form the body of the command."""
    ends_at: tuple[str, ...]
    """The app-ids of the services that know whether the flow has ended."""
    is_pending: Callable[[bytes], bool] = _never
    """Returns True if the owner's answer shows that the flow has not ended."""

    def location(self, resource: str) -> str:
        """Return the path of the resource."""
        return f"/{self.name}/{resource}"

    def command(self, resource: str, answer: bytes) -> Command:
        """Rebuild the command, with the same id, from the owner's answer.

        Raise ValueError if the answer lacks a field.
        """
        known = msgspec.json.decode(answer, type=dict)
        missing = [name for name in self.fields if name not in known]
        if missing:
            raise ValueError(f"the answer of {self.owner} lacks {', '.join(missing)}")
        body = {name: known[name] for name in self.fields}
        return build_command(self.topic, resource, self.location(resource), body, {self.id_field: resource})


USER = FlowKind(
    "user", REGISTER.command, "user", "user_id", fields=("email", "name"), ends_at=("billing", "notification")
)
ORDER_FLOW = FlowKind(
    "order",
    ORDER.command,
    "order",
    "order_id",
    fields=("user_id", "items"),
    ends_at=("notification",),
    is_pending=_is_pending_order,
)
KINDS: Mapping[str, FlowKind] = {kind.name: kind for kind in (USER, ORDER_FLOW)}
KIND_OF_TOPIC: Mapping[str, FlowKind] = {kind.topic: kind for kind in KINDS.values()}
"""A command that is not listed here starts no flow: it ends with its reply."""
