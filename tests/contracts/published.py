"""The data of each event, as the code of its publisher declares it."""

from dataclasses import MISSING, fields
from importlib import import_module
from typing import Any, get_args, get_type_hints

from gateway.app import SHOP
from sidecart.launcher.apps import module_of
from sidecart.launcher.topics import GATEWAY, read_topics


def fields_of(topic: str) -> list[str]:
    """Return the names of the fields of an event's data, in the publisher's sequence."""
    if read_topics()[topic].publisher != GATEWAY:
        return [each.name for each in fields(_output(topic))]
    [command] = [each for each in SHOP.all_commands if each.topic == topic]
    return [command.resource, *command.body.model_fields]


def required_fields_of(topic: str) -> list[str]:
    """Return the names of the fields that every event of a topic has.

    A field with a default is optional.
    """
    if read_topics()[topic].publisher != GATEWAY:
        return [each.name for each in fields(_output(topic)) if each.default is MISSING]
    [command] = [each for each in SHOP.all_commands if each.topic == topic]
    required = [name for name, field in command.body.model_fields.items() if field.is_required()]
    return [command.resource, *required]


def reasons_of(topic: str) -> set[str | None]:
    """Return the values of an event's `reason`; only None for an event without one."""
    if "reason" not in fields_of(topic):
        return {None}
    return set(get_args(get_type_hints(_output(topic))["reason"]))


def _output(topic: str) -> type[Any]:
    """Return the dataclass of an event in `events.py` of the service that publishes it."""
    package = module_of(read_topics()[topic].publisher).rpartition(".")[0]
    found: type[Any] = getattr(import_module(f"{package}.events"), topic)
    return found
