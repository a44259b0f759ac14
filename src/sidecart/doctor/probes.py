"""Checks of running processes: sidecars through their HTTP API, servers through their own tools."""

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from sidecart.doctor.dapr_values import go_true
from sidecart.doctor.findings import Finding, Place, Severity
from sidecart.doctor.resources import Component
from sidecart.launcher.blocking_errors import BlockingError
from sidecart.launcher.daprd import VERSION
from sidecart.launcher.topics import Subscription

CALL_SECONDS_MAX = 3.0
EVICTS_NOTHING = "noeviction"
CONSUMER_TIMEOUT_MS_DEFAULT = 30 * 60 * 1_000

DANGER, WARNING, NOTE = Severity


@dataclass(frozen=True, slots=True)
class Answer:
    """A sidecar's HTTP response; status 0 means that no response arrived."""

    status: int
    body: str


Ask = Callable[[str, str], Answer]
"""Sends a GET request: takes a path and an API token, returns the answer."""


def asking(address: str) -> Ask:
    """A client for the sidecar at an address such as http://127.0.0.1:3500; it ignores proxies."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ask(path: str, token: str) -> Answer:
        headers = {"dapr-api-token": token} if token else {}
        try:
            request = urllib.request.Request(f"{address.rstrip('/')}{path}", headers=headers)
            with opener.open(request, timeout=CALL_SECONDS_MAX) as answer:
                return Answer(answer.status, answer.read().decode(errors="replace"))
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.read().decode(errors="replace"))
        except (OSError, ValueError) as error:
            return Answer(0, str(error))

    return ask


def sidecar(place: Place, token: str, expected: Collection[Component], ask: Ask) -> list[Finding]:
    """Check a running sidecar; `expected` are the components that its files define."""
    health = ask("/v1.0/healthz", token)
    if health.status == 0:
        return [
            Finding(
                "sidecar-unreachable", DANGER, place, f"no sidecar answers: {health.body}", "start it, or see its log"
            )
        ]
    found = []
    if health.status >= 300:
        what = f"the sidecar reports that it is unhealthy ({health.status}): it neither reads nor publishes"
        found.append(
            Finding("sidecar-unhealthy", DANGER, place, what, "see its log: its broker or its store is unreachable")
        )
    answer = ask("/v1.0/metadata", token)  # healthz needs no token, metadata does
    if answer.status == 401:
        what = "the sidecar requires another token, so the doctor can read only its health"
        return [*found, Finding("sidecar-refuses", WARNING, place, what, "DAPR_API_TOKEN=... in this environment")]
    try:
        metadata = json.loads(answer.body) if answer.status == 200 else None
    except ValueError:
        metadata = None
    if not isinstance(metadata, dict):
        what = f"the sidecar's metadata cannot be read ({answer.status})"
        return [
            *found,
            Finding("sidecar-unhealthy", DANGER, place, what, "is it a sidecar, and is this its HTTP port?"),
        ]
    if ask("/v1.0/metadata", "").status == 200:
        what = "the sidecar answers without a token: any program that reaches this port can publish and read state"
        found.append(Finding("no-api-token", WARNING, place, what, "DAPR_API_TOKEN=... in its environment"))
    return [*found, *_loaded(place, metadata, expected)]


def _loaded(place: Place, metadata: Mapping[str, Any], expected: Collection[Component]) -> list[Finding]:
    found = []
    version = str(metadata.get("runtimeVersion", ""))
    if version and version != VERSION:
        what = f"the sidecar is daprd {version}; the doctor's rules describe {VERSION}"
        found.append(Finding("daprd-other-version", NOTE, place, what, f"daprd {VERSION}"))
    app_id = str(metadata.get("id", ""))
    loaded = {str(each.get("name")) for each in metadata.get("components", [])}
    for each in expected:
        if each.is_for(app_id) and each.name not in loaded:
            what = f"the sidecar of {app_id} has not loaded {each.name} ({each.place()})"
            fix = "see its log, and check that its --resources-path names that folder"
            found.append(Finding("component-not-loaded", DANGER, place, what, fix))
    read = {str(each.get("pubsubname")): str(each.get("topic")) for each in metadata.get("subscriptions", [])}
    for each in expected:
        if each.name in read and not each.is_read and each.is_for(app_id):
            what = f"{app_id} reads {read[each.name]} on {each.name}, which {each.place()} marks `publish-only`"
            found.append(Finding("publish-only-is-read", WARNING, place, what, "subscribe on another component"))
    parsed = [str(each.get("topic")) for each in metadata.get("subscriptions", []) if _parses(each)]
    if parsed:
        what = f"the sidecar of {app_id} parses {', '.join(parsed)}: a message that is not a JSON object never arrives"
        fix = "subscribe with the metadata rawPayload: true; if the app already does, restart its sidecar"
        found.append(Finding("unparseable-never-arrives", WARNING, place, what, fix))
    return found


def _parses(subscription: Mapping[str, Any]) -> bool:
    raw = (subscription.get("metadata") or {}).get("rawPayload", "")
    return not go_true(str(raw)) and not subscription.get("deadLetterTopic")


def redis(address: str, settings: Mapping[str, str]) -> list[Finding]:
    """Check the persistence and eviction settings that a Redis server's CONFIG reports."""
    place, found = Place(address), []
    if settings.get("appendonly", "yes") != "yes":
        what = "the server writes no append-only file: when it stops, events and state since the last snapshot are lost"
        found.append(Finding("redis-not-append-only", DANGER, place, what, "appendonly yes"))
    policy = settings.get("maxmemory-policy", EVICTS_NOTHING)
    if settings.get("maxmemory", "0") != "0" and policy != EVICTS_NOTHING:
        what = f"when its memory is full, the server evicts keys ({policy}): state, or a stream with its events"
        found.append(Finding("redis-evicts", DANGER, place, what, f"maxmemory-policy {EVICTS_NOTHING}"))
    return found


def rabbitmq(address: str, consumer_timeout_ms: int | None) -> list[Finding]:
    """Check how long RabbitMQ waits for an acknowledgment before it redelivers an event."""
    if consumer_timeout_ms is None or consumer_timeout_ms < CONSUMER_TIMEOUT_MS_DEFAULT:
        return []
    what = f"RabbitMQ waits {consumer_timeout_ms // 60_000} minutes before it redelivers an event that a sidecar forgot"
    return [Finding("rabbitmq-consumer-timeout", NOTE, Place(address), what, "consumer_timeout = 300000")]


def readers(
    broker: str, misread: Sequence[Subscription], blocking_errors: Mapping[str, BlockingError] = MappingProxyType({})
) -> list[Finding]:
    """Report subscriptions with a wrong number of readers, by the broker's count.

    `blocking_errors` holds, by app-id, the error that stops a sidecar from reading.
    """
    return [
        Finding(
            "read-wrongly",
            DANGER,
            Place(f"{broker}:{one.topic}"),
            f"{one.consumer_id} does not read {one.topic} correctly: {_why(one, blocking_errors)}",
            blocking_errors[one.app_id].remedy
            if one.app_id in blocking_errors
            else f"stop the sidecar of {one.app_id}: the broker then redelivers the events that it holds",
        )
        for one in misread
    ]


def _why(one: Subscription, blocking_errors: Mapping[str, BlockingError]) -> str:
    return blocking_errors[one.app_id].reason if one.app_id in blocking_errors else "too few readers or too many"
