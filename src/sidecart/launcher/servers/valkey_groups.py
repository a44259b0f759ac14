"""Consumer groups of a Redis-compatible server, and whether a consumer reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import valkey

from sidecart.launcher.topics import Subscription, is_only_reader

HISTORY_PAGE = 1_000
IDLE_MS_MAX = 15_000
"""A consumer that read or reclaimed events within this time counts as reading."""
ABANDONED_MS = 60_000
"""A consumer that reads does so again within seconds of a new event."""


@dataclass(frozen=True, slots=True)
class Group:
    """One consumer group: its undelivered events, and the unacknowledged ones."""

    name: str
    lag: int
    pending: int
    position: str = ""
    """The id of the last event that was delivered."""


def _raw(client: valkey.Valkey, stream: str) -> list[Any]:
    try:
        groups: Any = client.xinfo_groups(stream)  # the stub allows a coroutine
    except valkey.exceptions.NoPermissionError:  # otherwise a missing right would look like nothing to do
        raise
    except valkey.ResponseError:  # no such stream
        return []
    return list(groups)


def names_of(client: valkey.Valkey, stream: str) -> set[str]:
    """Return the names of the consumer groups of a stream; none if there is no such stream."""
    return {each["name"].decode() for each in _raw(client, stream)}


def groups_of(client: valkey.Valkey, stream: str) -> list[Group]:
    """Return the consumer groups of a stream; none if there is no such stream."""
    groups = _raw(client, stream)
    return [
        Group(
            each["name"].decode(),
            _lag(client, stream, each),
            int(each["pending"]),
            each["last-delivered-id"].decode(),
        )
        for each in groups
    ]


def _lag(client: valkey.Valkey, stream: str, group: Mapping[str, Any]) -> int:
    """Return a group's number of undelivered events; count up to a page if the server lacks it.

    Redis 7.0 counts too many after a restart, for ever. So nothing counts if no event follows the
    last delivered one.
    """
    lag = group["lag"]
    if lag == 0:
        return 0
    after = f"({group['last-delivered-id'].decode()}"
    # the stub allows a coroutine
    entries: Any = client.xrange(stream, min=after, count=HISTORY_PAGE if lag is None else 1)
    return len(entries) if lag is None or not entries else int(lag)


def is_read(client: valkey.Valkey, one: Subscription) -> bool:
    """Return whether a consumer reads the events that wait."""
    group = next((each for each in groups_of(client, one.topic) if each.name == one.consumer_id), None)
    if group is None:
        return False
    # A consumer with pending events may be busy with unacknowledged ones, and then it requests no
    # more.
    if group.pending or not group.lag:
        return True
    # the stub allows a coroutine
    consumers: Any = client.xinfo_consumers(one.topic, one.consumer_id)
    return any(each["idle"] < IDLE_MS_MAX for each in consumers)


def are_abandoned(
    client: valkey.Valkey, some: Sequence[Subscription], every: Sequence[Subscription], read: Sequence[Subscription]
) -> bool:
    """Return whether a group or a stream of `some` exists, and no consumer of `every` has read.

    `every` includes the probe: a gateway that runs reads its probe event every few seconds, unless
    the server refuses events. So a consumer of `read` must have read.
    """
    exists = any(one.consumer_id in names_of(client, one.topic) for one in some)
    if not exists and not any(is_only_reader(one) and client.exists(one.topic) for one in some):
        return False
    idle = [each for one in every for each in _idle_ms(client, one)]
    return all(each > ABANDONED_MS for each in idle) and any(
        each < ABANDONED_MS for one in read for each in _idle_ms(client, one)
    )


def _idle_ms(client: valkey.Valkey, one: Subscription) -> list[int]:
    """Return for how long each consumer of a group has not read; none without the group."""
    if one.consumer_id not in names_of(client, one.topic):
        return []
    # the stub allows a coroutine
    consumers: Any = client.xinfo_consumers(one.topic, one.consumer_id)
    return [int(each["idle"]) for each in consumers]


def remove(client: valkey.Valkey, one: Subscription) -> bool:
    """Delete a group, and its stream if it is the only reader; return whether it existed."""
    existed = one.consumer_id in names_of(client, one.topic)
    if existed:
        client.xgroup_destroy(one.topic, one.consumer_id)
    if is_only_reader(one) and client.exists(one.topic):
        client.delete(one.topic)
        return True
    return existed
