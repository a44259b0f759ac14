"""The rights of each app's login at the broker and at the store (ADR 54).

The rights derive from contracts/topics.json, as the scopes of the sidecars do (topic_scopes.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sidecart.launcher.errors import LaunchError
from sidecart.launcher.streams import streams
from sidecart.launcher.topic_scopes import pod_names, probes, publishers, readers
from sidecart.launcher.topics import (
    GATEWAY,
    MONITOR,
    app_ids,
    every_reply_topic,
    queue_name,
    read_topics,
)
from sidecart.launcher.topology import subscriptions_of_a_gateway

ADMINISTRATOR = "sidecart"
"""The login of the launcher itself on the servers that it starts."""
TRIMMER = "trimmer"
"""The login of the program that trims streams (ADR 70), and the name of its process."""
RESERVED = (ADMINISTRATOR, TRIMMER, "default", "guest", "postgres", "public")
"""The logins and schemas that a server has or has had of its own."""


@dataclass(frozen=True, slots=True)
class Permissions:
    """The topics and the records that the login of one app may reach."""

    app_id: str
    publishes: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    queues: tuple[str, ...] = ()
    """The queues of a broker with queues: each is a consumer's name and a topic."""
    inspects: tuple[str, ...] = ()
    """The topics whose consumers it may count, and from which it may remove its own."""
    counts: tuple[str, ...] = ()
    """The topics whose consumers it may count and remove, without reading an event."""
    removes: tuple[str, ...] = ()
    """The queues of gateways, which it may remove."""
    drops: tuple[str, ...] = ()
    """The topics that it may remove as a whole."""
    trims: tuple[str, ...] = ()
    """The topics whose old events it may remove, without reading as a consumer."""
    has_records: bool = False


def permissions() -> list[Permissions]:
    """Return the rights of each app, of the tap and of the live page.

    Raises LaunchError for an app-id that a server reserves, and if the topic list cannot be read.
    """
    if taken := [app_id for app_id in app_ids() if app_id in RESERVED]:
        raise LaunchError(f"an app cannot be named {', '.join(taken)}: a server has a login or a schema of that name")
    published = publishers()
    return [
        Permissions(
            app_id,
            publishes=tuple(published.get(app_id, ())),
            reads=tuple(topics),
            queues=_queues(app_id, topics),
            inspects=_all_topics() if app_id == MONITOR else (),
            has_records=app_id in app_ids(),
        )
        for app_id, topics in readers().items()
    ]


def keeper(name: str) -> Permissions:
    """Return the rights of a login that counts events, and removes what gone gateways left."""
    removes = _queues_of_gateways(pod_names(GATEWAY))
    return Permissions(name, counts=_all_topics(), removes=removes, drops=tuple(every_reply_topic()))


def trimmer() -> Permissions:
    """Return the rights of the login that removes old events from every stream."""
    return Permissions(TRIMMER, trims=tuple(streams()))


def _queues(app_id: str, topics: Iterable[str]) -> tuple[str, ...]:
    if app_id == GATEWAY:
        return _queues_of_gateways(pod_names(GATEWAY))
    return tuple(queue_name(app_id, topic) for topic in topics)


def _queues_of_gateways(pod_names: Iterable[str]) -> tuple[str, ...]:
    some = (one for pod_name in pod_names for one in subscriptions_of_a_gateway(pod_name))
    return tuple(queue_name(one.consumer_id, one.topic) for one in some)


def _all_topics() -> tuple[str, ...]:
    return (*read_topics(), *every_reply_topic(), *(topic for app_id in app_ids() for topic in probes(app_id)))
