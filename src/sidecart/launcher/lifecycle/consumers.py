"""Which subscriptions have a consumer: the broker's own answer, or the report of the sidecars."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from sidecart.launcher.lifecycle.state import State
from sidecart.launcher.local_http import get
from sidecart.launcher.servers.server import Broker
from sidecart.launcher.topics import Subscription
from sidecart.launcher.topology import app_of, pod_name_of, sidecar_of

METADATA_BYTES_MAX = 4 * 1024 * 1024


class Consumers(Protocol):
    """Compares the expected subscriptions with the existing ones."""

    def missing(self, expected: Sequence[Subscription]) -> list[Subscription]:
        """Return the subscriptions that do not exist yet."""

    def unread(self, expected: Mapping[Subscription, int]) -> list[Subscription]:
        """Return the subscriptions with another number of readers.

        Raises OSError if the broker is unreachable.
        """

    def remove(self, gone: Sequence[Subscription]) -> None:
        """Remove subscriptions that no process reads any more."""


def replicas_reading(names: Iterable[str], one: Subscription) -> list[str]:
    """Return the replicas among these names that read a subscription."""
    return [
        name for name in names if app_of(name) == one.app_id and one.consumer_id in (app_of(name), pod_name_of(name))
    ]


def consumers_of(state: State) -> Consumers:
    """Return the consumers of a system: the broker's if the launcher knows the broker."""
    broker = state.plan.broker
    return ReportedConsumers(state) if broker is None else BrokerConsumers(state, broker)


class BrokerConsumers:
    """The consumers that a broker knows."""

    def __init__(self, state: State, broker: Broker) -> None:
        self._state = state
        self._broker = broker

    def missing(self, expected: Sequence[Subscription]) -> list[Subscription]:
        """Return the subscriptions that the broker does not know."""
        return self._broker.missing(self._state.broker_address, expected)

    def unread(self, expected: Mapping[Subscription, int]) -> list[Subscription]:
        """Return the subscriptions with another number of readers at the broker."""
        return self._broker.unread(self._state.broker_address, expected)

    def remove(self, gone: Sequence[Subscription]) -> None:
        """Remove subscriptions at the broker."""
        self._broker.remove(self._state.broker_address, gone)


class ReportedConsumers:
    """The subscriptions that sidecars report in Dapr's metadata API.

    A sidecar reports a subscription that it has made. It does not report whether the broker has the
    consumer, and how many others read. So the probe of each app's readiness shows that events pass.
    """

    def __init__(self, state: State) -> None:
        self._state = state

    def missing(self, expected: Sequence[Subscription]) -> list[Subscription]:
        """Return the subscriptions that the sidecar of any of their replicas lacks."""
        names = self._state.plan.replicas
        reported = {name: self._reported(name) for name in names}
        return [
            one
            for one in expected
            if any((one.component, one.topic) not in reported[name] for name in replicas_reading(names, one))
        ]

    def unread(self, expected: Mapping[Subscription, int]) -> list[Subscription]:
        """Return the subscriptions that a sidecar has lost."""
        return self.missing(list(expected))

    def remove(self, gone: Sequence[Subscription]) -> None:
        """Keep them: the broker is not known."""

    def _reported(self, name: str) -> set[tuple[str, str]]:
        """The component and the topic of each subscription of a replica's sidecar."""
        port, token = self._state.ports[sidecar_of(name)], self._state.plan.tokens[sidecar_of(name)]
        status, body = get(port, "/v1.0/metadata", token, bytes_max=METADATA_BYTES_MAX)
        return subscriptions_in(body) if status == 200 else set()


def subscriptions_in(metadata: str) -> set[tuple[str, str]]:
    """Return the component and the topic of each subscription in a metadata document."""
    try:
        found: Iterable[Mapping[str, str]] = json.loads(metadata).get("subscriptions") or ()
        return {(each["pubsubname"], each["topic"]) for each in found}
    except (ValueError, LookupError, TypeError, AttributeError):
        return set()
