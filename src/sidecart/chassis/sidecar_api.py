"""The calls of a sidecar's API, which `HttpApi` and `GrpcApi` send, and the errors that they raise.

The answers of both have statuses of HTTP. A call raises SidecarUnreachable if it was certainly not
carried out, SidecarTimeout if it was late, and SidecarUnavailable if its outcome is unknown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from sidecart.chassis.connections import Answer
from sidecart.chassis.errors import SidecarTimeout, SidecarUnavailable, SidecarUnreachable
from sidecart.chassis.http2.errors import NotConnected

STORE = "statestore"
PUBSUB = "pubsub"
"""Publishes only, alone or with further components (ADR 74); other components read (ADR 12)."""
# One state or publish call: longer than a store's failover pause, shorter than the redelivery time.
CALL_SECONDS_MAX = 10.0
BULK_PARALLELISM = 10
PROBE_KEY = "health-probe"


@dataclass(frozen=True, slots=True)
class BulkAnswer(Answer):
    """The answer to a bulk load: a value or an error for each key that the store knows."""

    values: Mapping[str, bytes] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)


class SidecarApi(Protocol):
    """One way to call a sidecar."""

    async def get(self, key: str, seconds_max: float = CALL_SECONDS_MAX) -> Answer:
        """Load a record: 200 with its value and ETag, or 204 or an empty 200 for an absent one."""

    async def get_many(self, keys: Sequence[str]) -> BulkAnswer:
        """Load several records."""

    async def put(self, key: str, value: bytes, etag: str | None, ttl_seconds: int | None) -> Answer:
        """Write a record if the ETag matches, or, with None, if the key is free."""

    async def put_probe(self, seconds_max: float) -> Answer:
        """Write the record PROBE_KEY: the last write wins, so that it is always a valid write."""

    async def publish(self, component: str, topic: str, event: bytes, seconds_max: float, traceparent: str) -> Answer:
        """Publish an event on a component; the `traceparent` is empty without a trace."""

    async def invoke(self, app_id: str, path: str, seconds_max: float, traceparent: str) -> Answer:
        """GET a path of another service."""

    async def metadata(self, seconds_max: float) -> Answer:
        """Return what the sidecar reports about itself, as JSON."""

    async def ping(self, seconds_max: float) -> None:
        """Send a call that no component serves; any answer will do."""

    def close(self) -> None:
        """Close the connections."""


def failed_call(what: str, error: Exception, seconds_max: float) -> SidecarUnavailable:
    """Return the error of the chassis for NotConnected, BrokenOff or TimeoutError."""
    if isinstance(error, NotConnected):
        return SidecarUnreachable(f"{what}: {error}")
    if isinstance(error, TimeoutError):
        return SidecarTimeout(f"{what}: no answer within {seconds_max:.3g} s")
    return SidecarUnavailable(f"{what}: {type(error).__name__} {error}")
