"""Reply topics: `Replies-<requester>-<publisher>` carries a service's replies to one gateway.

With several gateways, a command names the gateway that waits for its reply (`replyto`). Each
service publishes a copy of its reply on that gateway's reply topic, so a gateway reads its own
replies only. With one gateway no command has an address, and no copy exists
(docs/adr/0069-addressed-replies.md).
"""

from __future__ import annotations

import msgspec

GATEWAY = "gateway"
GATEWAYS_MAX = 20
"""Each gateway has a reply topic for each service that replies, and scopes and permissions list
them all.
"""
REQUESTERS = tuple(f"{GATEWAY}-{number}" for number in range(GATEWAYS_MAX))
"""The reply addresses: the pod names of all gateways that may run."""
_KNOWN = frozenset(REQUESTERS)


class _Address(msgspec.Struct):
    replyto: str = ""


def is_requester(name: str) -> bool:
    """Return whether a reply address is the pod name of a gateway that may run."""
    return name in _KNOWN


def reply_topic(requester: str, publisher: str) -> str:
    """Return the topic of the replies of a service to one gateway."""
    return f"Replies-{requester}-{publisher}"


def readdressed(event: bytes, reply_to: str) -> bytes:
    """Return an event with this reply address, empty for none; all other bytes stay."""
    if msgspec.json.decode(event, type=_Address).replyto == reply_to:
        return event
    attributes = msgspec.json.decode(event, type=dict[str, msgspec.Raw])
    attributes.pop("replyto", None)
    if reply_to:
        attributes["replyto"] = msgspec.Raw(msgspec.json.encode(reply_to))
    return msgspec.json.encode(attributes)
