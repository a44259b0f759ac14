"""The invariants of any project at rest, whatever faults happened before."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from sidecart.testkit.simulation.world import World


def problems(world: World) -> Iterator[str]:
    """Yield all violations of the invariants, one line each."""
    yield from (f"dead letter: {letter}" for letter in world.dead_letters)
    yield from (f"dead letter: {key}" for store in world.stores.values() for key in store if key.startswith("dead:"))
    yield from _replies(world)
    yield from _events(world)
    yield from _outboxes(world)


def state(world: World, app: str, key: str) -> dict[str, Any] | None:
    """Return the state in a primary record of an app, or None without the record."""
    found = secondary(world, app, key)
    return None if found is None else found["state"]


def secondary(world: World, app: str, key: str) -> dict[str, Any] | None:
    """Return a record of an app as a whole, or None without the record."""
    found = world.stores[app].get(key)
    return None if found is None else msgspec.json.decode(found[0])


def events_of(world: World, topic: str, subject: str) -> list[dict[str, Any]]:
    """Return the published events of a topic about one subject."""
    return [event for event in world.published[topic] if event["subject"] == subject]


def _replies(world: World) -> Iterator[str]:
    for command in world.commands:
        # An erasure also ends a command that is still pending: it then gets no reply.
        may_differ = command.may_change and (command.replies or command.is_accepted)
        if len(command.replies) != 1 and not may_differ:
            yield f"{command.topic} {command.id} was answered {sorted(command.replies)}"


def _events(world: World) -> Iterator[str]:
    known: dict[str, Any] = {}
    may_change = {command.id for command in world.commands if command.may_change}
    for topic, events in world.published.items():
        for event in events:
            if event["correlationid"] in may_change:
                continue
            content = topic, event["subject"], event["correlationid"], event["data"]
            if known.setdefault(event["id"], content) != content:
                yield f"one id, two events: {content} and {known[event['id']]}"


def _outboxes(world: World) -> Iterator[str]:
    for app, store in world.stores.items():
        for key, (value, _) in store.items():
            for event_id, entry in (msgspec.json.decode(value).get("outbox") or {}).items():
                for each in entry["secondaries"]:
                    if each not in store:
                        yield f"{app} {key}: {each} of {event_id} was never written"
