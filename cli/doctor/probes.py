"""What runs now: sidecars are asked by their own API, the servers of a running shop by theirs."""

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from cli.blocking_errors import BlockingError
from cli.daprd import VERSION
from cli.doctor.dapr_values import go_true
from cli.doctor.findings import Finding, Place, Severity
from cli.doctor.resources import Component
from cli.topics import Subscription

CALL_SECONDS_MAX = 3.0
EVICTS_NOTHING = "noeviction"
CONSUMER_TIMEOUT_MS_DEFAULT = 30 * 60 * 1_000

DANGER, WARNING, NOTE = Severity


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of a sidecar; status 0: none."""

    status: int
    body: str


Ask = Callable[[str, str], Answer]
"""GET a path of a sidecar with a token."""


def asking(address: str) -> Ask:
    """How a sidecar at an address such as http://127.0.0.1:3500 is asked; never through a proxy."""
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
    """What is wrong with a running sidecar; `expected` are the components of the files that it should have read."""
    health = ask("/v1.0/healthz", token)
    if health.status == 0:
        return [
            Finding(
                "sidecar-unreachable", DANGER, place, f"no sidecar answers: {health.body}", "start it, or see its log"
            )
        ]
    found = []
    if health.status >= 300:
        what = f"it says that it is unhealthy ({health.status}): it neither reads nor publishes"
        found.append(
            Finding("sidecar-unhealthy", DANGER, place, what, "see its log: its broker or its store is unreachable")
        )
    answer = ask("/v1.0/metadata", token)  # health is told to anybody, this is not
    if answer.status == 401:
        what = "it wants another token, and says no more than how it is"
        return [*found, Finding("sidecar-refuses", WARNING, place, what, "DAPR_API_TOKEN=... in this environment")]
    try:
        metadata = json.loads(answer.body) if answer.status == 200 else None
    except ValueError:
        metadata = None
    if not isinstance(metadata, dict):
        what = f"its metadata cannot be read ({answer.status})"
        return [
            *found,
            Finding("sidecar-unhealthy", DANGER, place, what, "is it a sidecar, and is this its HTTP port?"),
        ]
    if ask("/v1.0/metadata", "").status == 200:
        what = "it answers without a token: any program that reaches this port can publish and read state"
        found.append(Finding("no-api-token", WARNING, place, what, "DAPR_API_TOKEN=... in its environment"))
    return [*found, *_loaded(place, metadata, expected)]


def _loaded(place: Place, metadata: Mapping[str, Any], expected: Collection[Component]) -> list[Finding]:
    found = []
    version = str(metadata.get("runtimeVersion", ""))
    if version and version != VERSION:
        what = f"it is daprd {version}; these rules were read in the source of {VERSION}"
        found.append(Finding("daprd-other-version", NOTE, place, what, f"daprd {VERSION}"))
    app_id = str(metadata.get("id", ""))
    loaded = {str(each.get("name")) for each in metadata.get("components", [])}
    for each in expected:
        if each.is_for(app_id) and each.name not in loaded:
            what = f"the sidecar of {app_id} has not loaded {each.name} ({each.place()})"
            fix = "see its log, and whether its --resources-path is that folder"
            found.append(Finding("component-not-loaded", DANGER, place, what, fix))
    read = {str(each.get("pubsubname")): str(each.get("topic")) for each in metadata.get("subscriptions", [])}
    for each in expected:
        if each.name in read and not each.is_read and each.is_for(app_id):
            what = f"{app_id} reads {read[each.name]} on {each.name}, of which {each.place()} says `publish-only`"
            found.append(Finding("publish-only-is-read", WARNING, place, what, "subscribe on another component"))
    parsed = [str(each.get("topic")) for each in metadata.get("subscriptions", []) if _parses(each)]
    if parsed:
        what = f"the sidecar of {app_id} parses {', '.join(parsed)}: a message that is no JSON object never arrives"
        fix = "subscribe with the metadata rawPayload: true; if the app does so, start its sidecar again"
        found.append(Finding("unparseable-never-arrives", WARNING, place, what, fix))
    return found


def _parses(subscription: Mapping[str, Any]) -> bool:
    raw = (subscription.get("metadata") or {}).get("rawPayload", "")
    return not go_true(str(raw)) and not subscription.get("deadLetterTopic")


def redis(address: str, settings: Mapping[str, str]) -> list[Finding]:
    """What a Redis server's own CONFIG says about what it keeps."""
    place, found = Place(address), []
    if settings.get("appendonly", "yes") != "yes":
        what = "the server writes no append-only file: events and state since the last snapshot are lost when it ends"
        found.append(Finding("redis-not-append-only", DANGER, place, what, "appendonly yes"))
    policy = settings.get("maxmemory-policy", EVICTS_NOTHING)
    if settings.get("maxmemory", "0") != "0" and policy != EVICTS_NOTHING:
        what = f"the server throws keys away when its memory is full ({policy}): state, or a stream with its events"
        found.append(Finding("redis-evicts", DANGER, place, what, f"maxmemory-policy {EVICTS_NOTHING}"))
    return found


def rabbitmq(address: str, consumer_timeout_ms: int | None) -> list[Finding]:
    """What a RabbitMQ server says about how long an event may be out."""
    if consumer_timeout_ms is None or consumer_timeout_ms < CONSUMER_TIMEOUT_MS_DEFAULT:
        return []
    what = f"what a sidecar has forgotten is handed out again after {consumer_timeout_ms // 60_000} minutes only"
    return [Finding("rabbitmq-consumer-timeout", NOTE, Place(address), what, "consumer_timeout = 300000")]


def readers(
    broker: str, wrongly: Sequence[Subscription], blocking_errors: Mapping[str, BlockingError] = MappingProxyType({})
) -> list[Finding]:
    """Subscriptions that are not read as they should, by the broker's own count, and what hinders which app's."""
    return [
        Finding(
            "read-wrongly",
            DANGER,
            Place(f"{broker}:{one.topic}"),
            f"{one.consumer_id} does not read {one.topic} as it should: {_why(one, blocking_errors)}",
            blocking_errors[one.app_id].remedy
            if one.app_id in blocking_errors
            else f"end the sidecar of {one.app_id}: what it holds is handed out again",
        )
        for one in wrongly
    ]


def _why(one: Subscription, blocking_errors: Mapping[str, BlockingError]) -> str:
    return blocking_errors[one.app_id].reason if one.app_id in blocking_errors else "too few readers or too many"
