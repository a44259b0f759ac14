"""Commands: the events by which the gateway requests a change from a service.

The gateway derives the ids of the resource and of the command before it publishes the command. A
repeated request is therefore the same command for the same resource. One deadline limits everything
that the gateway does for a request.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import re
import secrets
import time
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from sidecart.chassis.events import CloudEvent, timestamp
from sidecart.chassis.reply_topics import GATEWAY
from sidecart.chassis.telemetry import tracing

MADE_KEY = re.compile(r"^sidecart-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$", re.ASCII)

ANSWER_SECONDS = 0.8
"""The time to write the response after the wait. The documented limit is 1 s; the rest is for the
network between the gateway and the caller.
"""


@dataclass(frozen=True, slots=True)
class Command:
    """The event to publish, and the location of the resource that it creates."""

    id: str
    topic: str
    location: str
    event: bytes
    owner: str = ""
    """The id of the caller who may read the resource, or what the body names as its owner."""
    flow: str = ""
    """The id of the flow that the command starts; empty for that of the resource."""

    @property
    def resource(self) -> str:
        """The id of the resource that the command creates."""
        return resource_of(self.location)


def resource_of(location: str) -> str:
    """Return the id of a resource, which is the last segment of its location."""
    return location.rpartition("/")[2]


def build_command(
    topic: str,
    resource: str,
    location: str,
    body: dict[str, Any],
    ids: dict[str, str],
    *,
    at: datetime,
    owner: str = "",
    reply_to: str = "",
) -> Command:
    """Build the command that creates a resource; `at` is the time of its event.

    The command's id is derived from the resource and the body. Its data is `ids` and the body.
    `reply_to` is the gateway that reads the reply on a topic of its own; empty for shared topics.
    """
    event_id = command_id(resource, body)
    trace = {} if tracing.spans is None else tracing.spans.attributes()
    event = CloudEvent(
        id=event_id,
        type=topic,
        source=GATEWAY,
        subject=resource,
        correlationid=event_id,
        time=timestamp(at),
        data=msgspec.Raw(msgspec.json.encode({**ids, **body})),
        replyto=reply_to or msgspec.UNSET,
        **trace,
    )
    return Command(event_id, topic, location, msgspec.json.encode(event), owner)


def uuid7() -> str:
    """Return a UUID of version 7 (RFC 9562): 48 bits of Unix milliseconds, then random bits."""
    return str(_version7(time.time_ns() // 1_000_000, secrets.randbits(80)))


def _version7(milliseconds: int, bits: int) -> uuid.UUID:
    return _with_version((milliseconds & (1 << 48) - 1) << 80 | bits & (1 << 80) - 1, 7)


def _with_version(value: int, version: int) -> uuid.UUID:
    """Return the UUID of RFC 9562 with these 128 bits, of which 6 are replaced."""
    value = value & ~(0xF << 76) | version << 76
    return uuid.UUID(int=value & ~(0x3 << 62) | 0x2 << 62)


def made_key() -> str:
    """Return a new Idempotency-Key for a request without one, so the caller can repeat it."""
    return f"sidecart-{uuid7()}"


def key_owner(caller: str, owner: str) -> str:
    """Return the owner of an Idempotency-Key that a caller sends for the owner of a resource.

    A caller with a scope acts for many owners. At the same moment, one key for two of them would be
    one id of two resources.
    """
    return f"{caller}\n{owner}"


def resource_id(secret: bytes, route: str, owner: str, key: str) -> str:
    """Return the id of the resource that a request creates.

    `owner` is the `key_owner`, or what the body names; its case does not count. Without the
    `secret` no one can compute the id of another caller's key. The id is a UUID of version 8. If
    the gateway generated the key, the id is a UUID of version 7 with the key's time, so ids sort by
    time.
    """
    derived = int.from_bytes(hmac.digest(secret, f"{route}\n{owner.casefold()}\n{key}".encode(), "sha256")[:16])
    if (made_at := made_at_ms(key)) is not None:
        return str(_version7(made_at, derived))
    return str(_with_version(derived, 8))


def made_at_ms(key: str) -> int | None:
    """Return the time of a key that a gateway generated, in Unix milliseconds; None for another."""
    own_key = MADE_KEY.match(key)
    return None if own_key is None else uuid.UUID(own_key.group(1)).int >> 80


def command_id(resource: str, body: dict[str, Any]) -> str:
    """Return the id of a command; another body for the same resource gives another id."""
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return str(uuid.uuid5(uuid.UUID(resource), canonical))


class Deadline:
    """The time at which the wait for an event ends, and the time by which the gateway responds.

    Both are times of the running event loop. The gateway creates one deadline for each request,
    after it has received the body: the caller counts from there (RFC 7240, section 4.3).
    """

    __slots__ = ("_now", "answer_by", "end")

    def __init__(self, wait_seconds: float) -> None:
        self._now = asyncio.get_running_loop().time
        self.end = self._now() + wait_seconds
        self.answer_by = self.end + ANSWER_SECONDS

    @property
    def left(self) -> float:
        """Seconds until the wait ends; 0 when it has ended."""
        return max(self.end - self._now(), 0.0)

    @property
    def left_to_answer(self) -> float:
        """Seconds until the response is due; 0 when it is late."""
        return max(self.answer_by - self._now(), 0.0)

    def share(self, seconds_max: float) -> float:
        """Return the seconds that one step may take: at most half of the remaining time.

        The other half is left for the steps that follow.
        """
        return min(seconds_max, self.left_to_answer / 2)
