"""The AsyncAPI document: which event goes from whom to whom, of contracts/, the held calls and components/servers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from chassis.events import CONTENT_TYPE
from gateway import contracts
from gateway.command_declarations import DECLARATIONS

SERVERS = Path(__file__).parents[1] / "components" / "servers"
"""Not beside the components of a broker: a sidecar reads that folder, and warns of each file that is not YAML."""
DESCRIPTION = """\
The events of the shop. Each is a CloudEvent 1.0 in structured mode, published whole; its `type` is the topic.

Delivery is at least once, in any order: an event may come late, twice, concurrently, or before the one that it follows
from. Whoever makes an event twice gives it the same `id`, and by that a repetition is known. `correlationid` is the id
of the command that started it all. A change of an event only adds fields, a break is a new topic; receivers ignore what
they do not know. An event that a service cannot use is kept by it as a dead letter, with the reason.

An app reads and publishes through its sidecar only. What a service has to do is in contracts/WIRE.md.
"""
CORRELATION = {
    "description": "The id of the command that started it all; of a command: its own id. A reply has its command's.",
    "location": "$message.payload#/correlationid",
}


@cache
def served(title: str, version: str) -> bytes:
    """The document as it is served, made once."""
    return json.dumps(document(title, version), ensure_ascii=False).encode()


def document(title: str, version: str) -> dict[str, Any]:
    """Make the document."""
    topics = contracts.topics()
    schemas = {name: _alone(schema) for name, schema in contracts.schemas("schemas").items()}
    return {
        "asyncapi": "3.0.0",
        "info": {"title": title, "version": version, "description": DESCRIPTION},
        "defaultContentType": CONTENT_TYPE,
        "servers": _servers(),
        "channels": {topic: _channel(topic) for topic in topics},
        "operations": {name: each for topic, way in topics.items() for name, each in _operations(topic, way)},
        "components": {
            "messages": {topic: _message(topic, schemas[topic]["description"]) for topic in topics},
            "schemas": schemas,
            "correlationIds": {"command": CORRELATION},
        },
    }


def _alone(schema: Any) -> Any:
    """A schema with every `$ref` alone: AsyncAPI reads schemas as draft 07, where nothing counts that stands beside."""
    match schema:
        case {"$ref": str(reference), **siblings} if siblings:
            return {"allOf": [{"$ref": reference}], **_alone(siblings)}
        case dict():
            return {name: _alone(each) for name, each in schema.items()}
        case list():
            return [_alone(each) for each in schema]
    return schema


def _servers() -> dict[str, Any]:
    """The brokers, one file each; which of them is there no app knows."""
    return {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(SERVERS.glob("*.json"))}


def _channel(topic: str) -> dict[str, Any]:
    return {"address": topic, "messages": {topic: {"$ref": f"#/components/messages/{topic}"}}}


def _message(topic: str, summary: str) -> dict[str, Any]:
    return {
        "name": topic,
        "summary": summary,
        "contentType": CONTENT_TYPE,
        "payload": {"$ref": f"{contracts.HERE}{topic}"},
        "correlationId": {"$ref": "#/components/correlationIds/command"},
        "examples": [{"name": name, "payload": event} for name, event in contracts.examples(topic).items()],
    }


def _operations(topic: str, way: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Who sends it and who receives it; a command once for each of the events that may answer it.

    An operation has one channel for its reply, and the two replies of a command have a topic each.
    """
    sides = [(way["publisher"], "send"), *((app_id, "receive") for app_id in way["consumers"])]
    for app_id, action in sides:
        operation = {"action": action, **_on(topic), "tags": [{"name": app_id}]}
        name = f"{app_id}-{action}s-{topic}"
        replies = list(_replies(topic))
        if not replies:
            yield name, operation
        for reply, summary in replies:
            yield f"{name}-for-{reply}", operation | {"summary": summary, "reply": _on(reply)}


def _replies(topic: str) -> Iterator[tuple[str, str]]:
    """The events that may answer a command, and what each is to the caller of the gateway."""
    for declaration in DECLARATIONS:
        if declaration.command == topic:
            held = f"POST {declaration.path} is held until its reply comes"
            yield declaration.success, f"{held}: this one is its 201."
            yield declaration.rejection, f"{held}: this one is the problem that it names."


def _on(topic: str) -> dict[str, Any]:
    channel = f"#/channels/{topic}"
    return {"channel": {"$ref": channel}, "messages": [{"$ref": f"{channel}/messages/{topic}"}]}
