"""The contracts of each released version still hold: its events, its records, its outboxes."""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
import pytest

from sidecart.chassis.speculation import SpeculativeProcessor
from sidecart.contracts import releases
from sidecart.contracts.memory_sidecar import Event, MemorySidecar
from sidecart.launcher.project import root
from sidecart.launcher.topics import read_topics, service_ids
from tests.contracts.story_replay import WIRED, wordless
from tests.contracts.validate import CONTRACTS, is_caused_by, problems, schema_problems, story

VERSIONS = releases.versions(root())
KEPT = [
    pytest.param(version, file.stem, id=f"{version}-{file.stem}")
    for version in VERSIONS
    for file in sorted((root() / releases.RELEASED / version / "records").iterdir())
    if file.stem in service_ids()
]
EVENTS = {version: releases.read_events(root(), version) for version in VERSIONS}


def test_there_is_a_release() -> None:
    """The other tests of this module would pass without one."""
    assert VERSIONS


def test_no_change_since_the_newest_release_is_breaking() -> None:
    """A breaking change needs a new topic (docs/how-to/change-an-event.md)."""
    assert [] == [str(change) for change in releases.changes(root()) if change.is_breaking]


@pytest.mark.parametrize("version", VERSIONS)
def test_released_events_are_valid_today(version: str) -> None:
    """A broker may still hold them."""
    kept = [event for event in EVENTS[version] if event["type"] in read_topics()]

    assert kept
    assert {} == {event["id"]: found for event in kept if (found := schema_problems(event["type"], event))}


def is_for_gateway(event: dict[str, Any]) -> bool:
    """Return whether only the gateway reads an event, and has a problem for each new reason.

    The gateways are updated before the services (CHANGELOG.md): their declarations list the
    reasons.
    """
    return event["data"].get("reason") in ("unknown_product", "price_changed", "erased")


@pytest.mark.parametrize("version", VERSIONS)
def test_events_of_today_are_valid_for_released_readers(version: str) -> None:
    """A service that is not updated yet reads them; a topic without an old schema has no reader."""
    schemas = CONTRACTS / "released" / version / "schemas"
    known = [event for event in story() if (schemas / f"{event['type']}.json").exists() and not is_for_gateway(event)]

    assert known
    assert {} == {
        event["id"]: found for event in known if (found := problems(schemas / f"{event['type']}.json", event))
    }


@pytest.mark.parametrize(("version", "name"), KEPT)
def test_a_service_goes_on_from_the_records_of_a_release(version: str, name: str) -> None:
    """After each write of the released version, this version takes over and gets every event again.

    It publishes what the released version published, with the same ids and the same fields. The
    texts of an email may differ, and a topic that is retired since then is left out.
    """
    saves = releases.read_records(root(), version, name)
    made = [event for event in EVENTS[version] if event["source"] == name]
    kept = [event for event in made if event["type"] in read_topics()]
    # The outputs after a retired one move up, and ids contain the position (WIRE.md, section 5).
    identity = _id if len(kept) == len(made) else _fact
    expected = {identity(event): event for event in kept}
    records: dict[str, bytes] = {}
    assert expected

    for key, value in [("", b""), *saves]:
        if key:
            records[key] = value
        published = {identity(event): event for event in _deliver(name, MemorySidecar(records), EVENTS[version])}
        assert {} == _lacking(expected, published), f"from the records of {version} after the write of {key}"


def _id(event: Event) -> str:
    return str(event["id"])


def _fact(event: Event) -> str:
    return f"{event['type']} of {event['subject']} in the flow {event['correlationid']}"


def _deliver(name: str, sidecar: MemorySidecar, events: list[Event]) -> list[Event]:
    """Deliver the events that a service consumes; return what it publishes."""
    service = WIRED[name]
    clock = [datetime.min]
    processor = SpeculativeProcessor(service, sidecar, lambda: clock[0], "00000000")
    for event in events:
        if event["type"] in service.inputs:
            answers = [each for each in events if _is_answer(each, name, event)]
            clock[0] = datetime.fromisoformat((answers or [event])[0]["time"])
            asyncio.run(processor.process(event["type"], msgspec.json.encode(event)))
    return [event for _, event in sidecar.published]


def _is_answer(event: Event, name: str, cause: Event) -> bool:
    return bool(event["source"] == name and is_caused_by(event, cause))


def _lacking(expected: Mapping[str, Event], published: Mapping[str, Event]) -> dict[str, Any]:
    """Return each expected event that was not published with all of its fields."""
    return {
        key: event
        for key, event in expected.items()
        if key not in published
        or any(published[key]["data"].get(name) != old for name, old in wordless(event)["data"].items())
    }
