"""The AsyncAPI document: every event with its publisher and its consumers.

The document is generated from contracts/, the command declarations and components/servers/.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sidecart.chassis.events import CONTENT_TYPE
from sidecart.edge.contracts import SCHEMAS, Contracts
from sidecart.edge.declarations import AnyCommand, Application

SERVERS = Path("components") / "servers"
"""A separate folder: a sidecar reads the folder of the broker's components and warns about each
file that is not YAML.
"""

DELIVERY = """\
Each event is a CloudEvent 1.0 in structured mode, published as a whole object; its `type` is the
topic.

Delivery is at least once and in any sequence: an event may arrive late, twice, concurrently, or before
the event that caused it. A publisher that publishes an event again uses the same `id`, so receivers
detect the repetition. `correlationid` is the id of the command that started the flow. A change to an
event only adds fields; a breaking change is a new topic. Receivers ignore unknown fields. A service
stores an event that it cannot process as a dead letter, with the reason.

An app reads and publishes only through its sidecar. contracts/WIRE.md specifies each service.
"""
CORRELATION = {
    "description": "The id of the command that started the flow. A command has its own id, a reply its command's.",
    "location": "$message.payload#/correlationid",
}


def document(application: Application, version: str) -> dict[str, Any]:
    """Generate the document of an application."""
    contracts = Contracts(application.folder / "contracts")
    topics = contracts.topics()
    schemas = {name: _with_lone_refs(schema) for name, schema in contracts.schemas("schemas").items()}
    description = f"{application.description} {DELIVERY}"
    operations = {
        name: each for topic, way in topics.items() for name, each in _operations(application.all_commands, topic, way)
    }
    return {
        "asyncapi": "3.0.0",
        "info": {"title": application.title, "version": version, "description": description},
        "defaultContentType": CONTENT_TYPE,
        "servers": _servers(application.folder / SERVERS),
        "channels": {topic: _channel(topic) for topic in topics},
        "operations": operations,
        "components": {
            "messages": {
                topic: _message(topic, schemas[topic]["description"], contracts.examples(topic)) for topic in topics
            },
            "schemas": schemas,
            "correlationIds": {"command": CORRELATION},
        },
    }


def _with_lone_refs(schema: Any) -> Any:
    """Return a copy of a schema in which every `$ref` stands alone.

    AsyncAPI reads schemas as JSON Schema draft 07, which ignores the siblings of a `$ref`.
    """
    match schema:
        case {"$ref": str(reference), **siblings} if siblings:
            return {"allOf": [{"$ref": reference}], **_with_lone_refs(siblings)}
        case dict():
            return {name: _with_lone_refs(each) for name, each in schema.items()}
        case list():
            return [_with_lone_refs(each) for each in schema]
    return schema


def _servers(folder: Path) -> dict[str, Any]:
    """Return every broker, one file each; no app knows which broker is in use."""
    return {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.json"))}


def _channel(topic: str) -> dict[str, Any]:
    return {"address": topic, "messages": {topic: {"$ref": f"#/components/messages/{topic}"}}}


def _message(topic: str, summary: str, examples: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": topic,
        "summary": summary,
        "contentType": CONTENT_TYPE,
        "payload": {"$ref": f"{SCHEMAS}{topic}"},
        "correlationId": {"$ref": "#/components/correlationIds/command"},
        "examples": [{"name": name, "payload": event} for name, event in examples.items()],
    }


def _operations(
    commands: Sequence[AnyCommand], topic: str, way: dict[str, Any]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the send operation of the publisher and the receive operation of each consumer.

    A command has one operation for each of its replies. An operation has one reply channel, and the
    two replies of a command have separate topics.
    """
    sides = [(way["publisher"], "send"), *((app_id, "receive") for app_id in way["consumers"])]
    for app_id, action in sides:
        operation = {"action": action, **_channel_reference(topic), "tags": [{"name": app_id}]}
        name = f"{app_id}-{action}s-{topic}"
        replies = list(_replies(commands, topic))
        if not replies:
            yield name, operation
        for reply, summary in replies:
            yield f"{name}-for-{reply}", operation | {"summary": summary, "reply": _channel_reference(reply)}


def _replies(commands: Sequence[AnyCommand], topic: str) -> Iterator[tuple[str, str]]:
    """Yield the events that may answer a command, each with its effect on the HTTP response."""
    for declaration in commands:
        if declaration.topic == topic:
            held, (success, *rejections) = f"{declaration.call} is held until its reply arrives", declaration.replies
            yield success, f"{held}: this event becomes the {declaration.success_status} response."
            for rejection in rejections:
                yield rejection, f"{held}: this event becomes a problem response."


def _channel_reference(topic: str) -> dict[str, Any]:
    channel = f"#/channels/{topic}"
    return {"channel": {"$ref": channel}, "messages": [{"$ref": f"{channel}/messages/{topic}"}]}
