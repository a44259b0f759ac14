"""Replays the example events of contracts/ to the services, with an in-memory sidecar."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from importlib import import_module
from typing import Any

import msgspec

from sidecart.chassis.errors import Conflict
from sidecart.chassis.service import Service
from sidecart.chassis.speculation import SpeculativeProcessor
from sidecart.launcher.apps import module_of
from sidecart.launcher.topics import service_ids
from tests.contracts.validate import is_caused_by, story

PAY_WITHIN = timedelta(seconds=900)


def service_of(app_id: str) -> Service[Any, Any]:
    """Return the declaration of a service: `SERVICE`, or `service(...)` if it has settings."""
    module = module_of(app_id)
    assert module, f"dapr.yaml: the app {app_id} runs no Python module: its command lacks `-m`"
    app = import_module(module)
    assert hasattr(app, "SERVICE") or hasattr(app, "service"), f"{module} lacks SERVICE, its declaration"
    found: Service[Any, Any] = app.SERVICE if hasattr(app, "SERVICE") else app.service(PAY_WITHIN)
    return found


WIRED: Mapping[str, Service[Any, Any]] = {app_id: service_of(app_id) for app_id in service_ids()}
STORY = story()
WRITER = "8f14e45f"  # the writer in WIRE.md's example of a record


class InMemoryStore:
    """A sidecar that stores records and published events in memory."""

    def __init__(self) -> None:
        self.records: dict[str, bytes] = {}
        self.published: list[tuple[str, dict[str, Any]]] = []

    async def load(self, key: str) -> tuple[bytes | None, str | None]:
        """Return the value, and the value in hex as its ETag."""
        value = self.records.get(key)
        return value, None if value is None else value.hex()

    async def load_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the values in the order of their keys."""
        return [self.records.get(key) for key in keys]

    async def save(self, key: str, value: bytes, etag: str | None, *, ttl_seconds: int | None = None) -> None:
        """Write the value, or raise Conflict if the ETag does not match."""
        if etag != (await self.load(key))[1]:
            raise Conflict(key)
        self.records[key] = value

    async def insert(self, key: str, value: bytes) -> bool:
        """Write the value if the key is free; return whether it was."""
        return self.records.setdefault(key, value) is value

    async def publish(self, topic: str, event: bytes) -> None:
        """Append the event to `published`."""
        self.published.append((topic, msgspec.json.decode(event)))


def replay(service: Service[Any, Any], store: InMemoryStore, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Deliver the events that a service consumes, and return the examples that they cause.

    The clock of the service shows the time of the expected outputs.
    """
    clock = [datetime.min]
    processor = SpeculativeProcessor(service, store, lambda: clock[0], WRITER)
    expected = []
    for event in events:
        if event["type"] in service.inputs:
            answers = [each for each in STORY if each["source"] == service.name and is_caused_by(each, event)]
            clock[0] = datetime.fromisoformat((answers or [event])[0]["time"])
            asyncio.run(processor.process(event["type"], msgspec.json.encode(event)))
            expected += answers
    return expected
