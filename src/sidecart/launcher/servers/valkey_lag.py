"""The lag of the consumer groups of a Redis-compatible server, and the length of its streams."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import valkey

from sidecart.launcher.servers.lag import STALLED_SECONDS, BrokerLag, ConsumerLag, KeptEvents
from sidecart.launcher.servers.stream_trimming import milliseconds
from sidecart.launcher.servers.valkey_groups import Group, groups_of

STALLED_MAX = 1_000
"""Entries in one answer. A sidecar takes fewer events before the first acknowledgement."""


def lag(client: valkey.Valkey, topics: Iterable[str], now_ms: float) -> BrokerLag:
    """Return the lag of each group of these streams, also of groups that no running app has.

    Ages are by the clock of this machine, and their entries by that of the server.
    """
    consumers, kept = list[ConsumerLag](), list[KeptEvents]()
    for topic in topics:
        for group in groups_of(client, topic):
            needed = _needed(client, topic, group)
            oldest = _age(needed, now_ms) if needed else 0.0
            late = stalled(client, topic, group, now_ms)
            consumers.append(ConsumerLag(topic, group.name, group.lag, group.pending, oldest, late))
        if first := _first(client, topic, "-"):
            kept.append(KeptEvents(topic, _length(client, topic), _age(first, now_ms)))
    return BrokerLag(consumers, kept)


def waiting(client: valkey.Valkey, topic: str, now_ms: float) -> dict[str, int]:
    """Return the events that wait for each group of a stream, delivered or not."""
    return {each.name: each.lag + stalled(client, topic, each, now_ms) for each in groups_of(client, topic)}


def stalled(client: valkey.Valkey, topic: str, group: Group, now_ms: float) -> int:
    """Return the unacknowledged events that are older than STALLED_SECONDS, up to STALLED_MAX.

    The age of the event decides: a sidecar delivers it again and again to an app that is stopped.
    """
    if not group.pending:
        return 0
    newest = max(0, int(now_ms - STALLED_SECONDS * 1_000))
    found: Any = client.xpending_range(topic, group.name, "-", newest, STALLED_MAX)  # the stub allows a coroutine
    return len(found)


def _needed(client: valkey.Valkey, topic: str, group: Group) -> str:
    """Return the id of the oldest entry that a group has not acknowledged; empty without one."""
    if group.pending:
        found: Any = client.xpending(topic, group.name)  # the stub allows a coroutine
        return found["min"].decode() if found["min"] else ""  # acknowledged in the meantime
    return _first(client, topic, f"({group.position}") if group.lag else ""


def _first(client: valkey.Valkey, topic: str, start: str) -> str:
    found: Any = client.xrange(topic, min=start, count=1)
    return found[0][0].decode() if found else ""


def _length(client: valkey.Valkey, topic: str) -> int:
    found: Any = client.xlen(topic)
    return int(found)


def _age(entry_id: str, now_ms: float) -> float:
    return max(0.0, (now_ms - milliseconds(entry_id)) / 1_000)
