"""Validates events against contracts/.

It checks the schema, the rules that no schema can express, and the derivation of the ids.
"""

import json
import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from sidecart.contracts.schemas import read_schemas
from sidecart.launcher.topics import GATEWAY, read_topics

CONTRACTS = Path(__file__).parents[2] / "contracts"
OUTPUTS_MAX = 100  # of one event; UserCreated requests all mails that waited for the address

Event = Mapping[str, Any]


def _retrieve(uri: str) -> Resource[Any]:
    return DRAFT202012.create_resource(json.loads(Path(uri.removeprefix("file://")).read_text("utf-8")))


REGISTRY: Registry[Any] = Registry(retrieve=_retrieve)  # type: ignore[call-arg]  # attrs hides `retrieve` from mypy
FORMATS = FormatChecker(formats=("uuid", "email"))


@FORMATS.checks("date-time", raises=ValueError)
def _is_date_time(value: object) -> bool:
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


@cache
def validator(path: Path) -> Draft202012Validator:
    """Return the validator of a schema file; it checks formats and resolves references."""
    return Draft202012Validator({"$ref": path.as_uri()}, registry=REGISTRY, format_checker=FORMATS)


def problems(path: Path, value: object) -> list[str]:
    """Return the violations of a schema file in a value, one line each."""
    return [f"{error.json_path}: {error.message[:300]}" for error in validator(path).iter_errors(value)]


def is_valid(path: Path, value: object) -> bool:
    """Return whether a value is valid; faster than `problems`."""
    return validator(path).is_valid(value)


def schema_problems(topic: str, event: object) -> list[str]:
    """Return the violations of a topic's schema in an event."""
    return problems(CONTRACTS / "schemas" / f"{topic}.json", event)


def http_problems(name: str, body: object) -> list[str]:
    """Return the violations in an HTTP body; `name` is a file of contracts/http without suffix."""
    return problems(CONTRACTS / "http" / f"{name}.json", body)


def validate(event: Event, topic: str | None = None) -> list[str]:
    """Return all violations in an event, one line each.

    `topic` is the topic on which the event was published, if it is known.
    """
    kind = event.get("type")
    if kind not in read_topics():
        return [f"type {kind!r} is not in the topic list"]
    if topic is not None and topic != kind:
        return [f"type {kind!r} was published on topic {topic!r}"]
    return schema_problems(kind, event) or list(_broken_rules(event))


def _broken_rules(event: Event) -> Iterable[str]:
    """Yield violations of the rules that no schema can express, such as those on two fields."""
    data = event["data"]
    if event["subject"] != data[aggregate_id(event["type"])]:
        yield f"subject {event['subject']} is not the {aggregate_id(event['type'])}"
    if "items" in data and "amount_cents" in data and data["amount_cents"] != total(data["items"]):
        yield f"amount_cents {data['amount_cents']} is not the sum of its items"
    if event["source"] == GATEWAY:
        if event["id"] != command_id(event):
            yield f"the id of a command is uuid5(resource, canonical body): {command_id(event)}"
        if event["correlationid"] != event["id"]:
            yield "a command carries its own id as correlationid"


def aggregate_id(topic: str) -> str:
    """Return the name of the data field whose value is also the `subject`."""
    if topic.startswith(("Order", "Email")):
        return "order_id"
    return "deposit_id" if topic.startswith("AccountDeposit") else "user_id"


def total(items: Iterable[Mapping[str, Any]]) -> int:
    """Return the total price of the items, in cents."""
    return sum(item["quantity"] * item["unit_price_cents"] for item in items)


def canonical(body: Mapping[str, Any]) -> str:
    """Return the canonical JSON of a body: sorted keys, no whitespace, minimal escaping."""
    return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def command_id(command: Event) -> str:
    """Return the required id of a command; its body is its data without the resource's id."""
    body = {name: value for name, value in command["data"].items() if name != aggregate_id(command["type"])}
    return str(uuid.uuid5(uuid.UUID(command["subject"]), canonical(body)))


def derived_id(cause: Event, event: Event, position: int) -> str:
    """Return the id of `event` as output number `position` of `cause`."""
    return str(uuid.uuid5(uuid.UUID(cause["id"]), f"{event['source']}{event['type']}{position}"))


def is_explained(event: Event, story: Iterable[Event]) -> bool:
    """Return whether the id of `event` derives from another event of the same flow.

    Most outputs have a low position, so each position is tried with every possible cause first.
    """
    causes = [each for each in story if event["source"] in read_topics()[each["type"]].consumers]
    return any(event["id"] == derived_id(cause, event, position) for position in range(OUTPUTS_MAX) for cause in causes)


def is_caused_by(event: Event, cause: Event) -> bool:
    """Return whether the id of `event` derives from `cause`, in the same flow."""
    return event["correlationid"] == cause["correlationid"] and is_explained(event, [cause])


def unexplained(events: Iterable[Event]) -> list[str]:
    """Return a line for each event, except commands, whose id derives from no other event."""
    stories: dict[str, list[Event]] = defaultdict(list)
    for event in {event["id"]: event for event in events}.values():
        stories[event["correlationid"]].append(event)
    return [
        f"{event['type']} {event['id']} derives from no event of its flow {correlation_id}"
        for correlation_id, story in stories.items()
        for event in story
        if event["source"] != GATEWAY and not is_explained(event, story)
    ]


def optional_fields(kind: str, name: str) -> set[str]:
    """Return the paths of the fields that a schema does not require; `kind` is its folder."""
    return set(_optional(read_schemas(CONTRACTS, kind)[name], ""))


def _optional(schema: Mapping[str, Any], place: str) -> Iterable[str]:
    for name, field in schema.get("properties", {}).items():
        if name not in schema.get("required", ()):
            yield f"{place}{name}"
        yield from _optional(field.get("items", field), f"{place}{name}.")


def examples(topic: str) -> dict[str, dict[str, Any]]:
    """Return the examples of a topic by name."""
    return {
        path.stem: json.loads(path.read_text("utf-8"))
        for path in sorted((CONTRACTS / "examples" / topic).glob("*.json"))
    }


def story() -> list[dict[str, Any]]:
    """Return all examples, ordered by time."""
    return sorted(
        (event for topic in read_topics() for event in examples(topic).values()), key=lambda each: str(each["time"])
    )
