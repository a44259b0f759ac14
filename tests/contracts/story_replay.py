"""Replays the example events of contracts/ to the services, with an in-memory sidecar."""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from importlib import import_module
from typing import Any

import msgspec

from sidecart.chassis.service import Service
from sidecart.chassis.speculation import SpeculativeProcessor
from sidecart.contracts.memory_sidecar import MemorySidecar
from sidecart.contracts.scenario import WRITER
from sidecart.launcher.apps import module_of
from sidecart.launcher.topics import service_ids
from tests.contracts.validate import is_caused_by, story


def service_of(app_id: str) -> Service[Any, Any]:
    """Return the declaration of a service."""
    module = module_of(app_id)
    assert module, f"dapr.yaml: the app {app_id} runs no Python module: its command lacks `-m`"
    app = import_module(module)
    assert hasattr(app, "SERVICE"), f"{module} lacks SERVICE, its declaration"
    found: Service[Any, Any] = app.SERVICE
    return found


WIRED: Mapping[str, Service[Any, Any]] = {app_id: service_of(app_id) for app_id in service_ids()}
STORY = story()


def wordless(event: dict[str, Any]) -> dict[str, Any]:
    """Return a mail without its texts, which are not part of the contract."""
    words = ("subject", "text", "html") if event["type"] == "EmailRequested" else ()
    return {**event, "data": {name: value for name, value in event["data"].items() if name not in words}}


def replay(service: Service[Any, Any], store: MemorySidecar, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
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
