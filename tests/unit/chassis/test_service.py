"""A service's declaration, read from its modules."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from sidecart.chassis.service import Service, Step

PUBLISHERS = {"BookPut": "desk"}


def modules(**extra: Any) -> tuple[ModuleType, ModuleType]:
    """Return the domain and the events of a service named `shelf`."""
    domain, events = ModuleType("services.shelf.domain"), ModuleType("services.shelf.events")
    vars(events)["INPUTS"] = {"BookPut": dict}
    vars(domain).update(
        State=dict,
        key=lambda event: "shelf:1",
        step=lambda state, secondary, received, *, limit=1: Step(state, outputs=(limit,)),
        subject=lambda output: "1",
        **extra,
    )
    return domain, events


def test_the_name_is_that_of_the_package_and_what_is_optional_may_be_absent() -> None:
    """No secondary records, and no event that creates a record."""
    service = Service.of(*modules(), PUBLISHERS)

    assert ("shelf", {"BookPut": dict}, {}) == (service.name, service.inputs, service.secondaries)
    assert (False, None) == (service.is_creation({}), service.secondary_key({}))
    assert (1,) == service.step(None, None, None).outputs  # type: ignore[arg-type]  # this step reads no event


def test_settings_are_passed_on_to_each_step() -> None:
    """The domain has no other way to learn of them."""
    service = Service.of(*modules(), PUBLISHERS, limit=7)

    assert (7,) == service.step(None, None, None).outputs  # type: ignore[arg-type]  # this step reads no event


def test_secondary_records_are_typed_by_the_prefix_of_their_key() -> None:
    """The domain declares both."""
    service = Service.of(*modules(SECONDARIES={"book": list}, secondary_key=lambda event: "book:2"), PUBLISHERS)

    assert list is service.secondary_type(str(service.secondary_key({})))


def test_the_replies_are_the_events_that_the_gateway_consumes(tmp_path: Path) -> None:
    """The topic list names them, as it names the publishers."""
    domain, events = modules()
    events.__file__ = str(tmp_path / "services" / "shelf" / "events.py")
    (tmp_path / "contracts").mkdir()
    topics = {
        "BookPut": {"publisher": "desk", "consumers": ["shelf"]},
        "BookKept": {"publisher": "shelf", "consumers": ["gateway", "desk"]},
        "BookSeen": {"publisher": "shelf", "consumers": ["desk"]},
        "DeskMoved": {"publisher": "desk", "consumers": ["gateway"]},
    }
    (tmp_path / "contracts" / "topics.json").write_text(json.dumps(topics))

    assert {"BookKept"} == Service.of(domain, events).replies


@pytest.mark.parametrize("name", ["State", "key", "step", "subject", "INPUTS"])
def test_a_definition_that_is_missing_is_named(name: str) -> None:
    """At the start, with the module that lacks it."""
    domain, events = modules()
    module = events if name == "INPUTS" else domain
    delattr(module, name)

    with pytest.raises(TypeError, match=f"the service lacks {module.__name__}.{name}"):
        Service.of(domain, events, PUBLISHERS)


def test_the_publishers_are_those_of_the_nearest_topic_list(tmp_path: Path) -> None:
    """A service finds the topic list of its project; an input without a publisher stops the
    start.
    """
    domain, events = modules()
    vars(events)["__file__"] = str(tmp_path / "services" / "shelf" / "events.py")
    topics = tmp_path / "contracts" / "topics.json"
    topics.parent.mkdir()
    topics.write_text('{"BookPut": {"publisher": "desk", "consumers": ["shelf"]}, "Other": {"publisher": "x"}}')

    assert {"BookPut": "desk"} == Service.of(domain, events).publishers
    topics.write_text('{"Other": {"publisher": "x"}}')
    with pytest.raises(LookupError, match="no publisher of BookPut"):
        Service.of(domain, events)
