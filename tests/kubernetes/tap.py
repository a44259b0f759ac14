"""Records the events that pass the broker of a cluster, through a port-forward."""

from __future__ import annotations

from typing import cast

import httpx

from sidecart.launcher.lifecycle.system import System
from sidecart.launcher.servers import valkey as valkey_server
from sidecart.launcher.topology import sidecar_of
from sidecart.testkit.tap import Tap, publish
from tests.e2e.broker_tap import BrokerTap
from tests.e2e.shopper import Shopper
from tests.kubernetes.shop import KubernetesShop

FIELD = b"data"  # the field of a stream entry in which Dapr stores the event


class KubernetesTap(BrokerTap):
    """A context manager inside that of its shop."""

    def __init__(self, shop: KubernetesShop) -> None:
        super().__init__(shop.kind, self._broker_url, lambda fields: fields[FIELD])
        self._shop = shop

    def _broker_url(self) -> str:
        address = self._shop.broker_address
        return valkey_server.url(address) if self._shop.kind == "redis" else address

    def publish(self, topic: str, body: bytes, content_type: str = "application/cloudevents+json") -> int:
        """Publish any body through the sidecar of the topic's publisher; return the status."""
        return publish(self._shop.ports, self._shop.tokens, topic, body, content_type)


class KubernetesShopper(Shopper):
    """A client of the shop on a cluster."""

    def __init__(self, shop: KubernetesShop, tap: KubernetesTap) -> None:
        # The tests use only attributes that all shops and taps have.
        super().__init__(cast(System, shop), cast(Tap, tap))
        self._kubernetes = shop

    def state(self, app_id: str, key: str) -> httpx.Response:
        """Read a record of a service, through the port-forward to its sidecar."""
        sidecar = sidecar_of(app_id)
        url = f"http://127.0.0.1:{self._kubernetes.ports[sidecar]}/v1.0/state/statestore/{key}"
        return httpx.get(url, headers={"dapr-api-token": self._kubernetes.tokens[sidecar]}, trust_env=False)
