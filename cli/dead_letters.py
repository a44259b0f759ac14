"""`sidecart dead-letters`: read the letters of all services of the running shop, through their sidecars."""

import argparse
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from cli import runfile
from cli.catalogue import SERVICES
from cli.errors import LaunchError

SECONDS_MAX = 10.0
REASON_WIDTH = 80

Load = Callable[[str, str], Any]
"""Returns what a service keeps under a key, decoded, or None."""


@dataclass(frozen=True, slots=True)
class Letter:
    """One event that a service could not use, as the service wrote it down (contracts/WIRE.md, section 9)."""

    id: str
    service: str
    topic: str
    reason: str
    time: str
    traceparent: str
    event: str


def letters(load: Load, services: tuple[str, ...] = SERVICES) -> Iterator[Letter]:
    """Every letter, service by service, oldest first."""
    for service in services:
        for letter_id in _ids(load, service):
            kept = load(service, f"dead:{letter_id}")
            if kept is not None:
                yield _letter(letter_id, service, kept)


def find(load: Load, letter_id: str) -> list[Letter]:
    """The letters with this id, or whose id begins with it: one event may be dead at several services."""
    return [each for each in letters(load) if each.id.startswith(letter_id)]


def _ids(load: Load, service: str) -> Iterator[str]:
    number = 0
    while (page := load(service, f"dead-index:{number}")) is not None:
        yield from page["ids"]
        number += 1


def _letter(letter_id: str, service: str, kept: Mapping[str, str]) -> Letter:
    names = ("topic", "reason", "time", "traceparent", "event")
    return Letter(letter_id, service, **{name: kept.get(name, "") for name in names})


def loader(ports: Mapping[str, int], dapr_api_token: str) -> Load:
    """Read the state of a running shop's services, each through its sidecar (port `<app-id>-sidecar`)."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    headers = {"dapr-api-token": dapr_api_token}

    def load(service: str, key: str) -> Any:
        port = ports[f"{service}-sidecar"]
        url = f"http://127.0.0.1:{port}/v1.0/state/statestore/{quote(key, safe='')}"
        try:
            with opener.open(urllib.request.Request(url, headers=headers), timeout=SECONDS_MAX) as answer:
                body = answer.read()
        except (OSError, urllib.error.URLError) as error:
            raise LaunchError(
                f"the dead letters of {service} cannot be read ({error}): see ./sidecart status"
            ) from error
        return json.loads(body) if body else None

    return load


def list_all(options: argparse.Namespace) -> int:
    """Print one line for each letter."""
    services = (options.service,) if options.service else SERVICES
    count = 0
    for letter in letters(_running(), services):
        if options.topic not in (None, letter.topic):
            continue
        count += 1
        if options.json:
            print(json.dumps({name: getattr(letter, name) for name in Letter.__slots__}))
        else:
            reason = " ".join(letter.reason.split())
            cut = reason if len(reason) <= REASON_WIDTH else f"{reason[: REASON_WIDTH - 3]}..."
            print(f"{letter.id}  {letter.time}  {letter.service:12}  {letter.topic:24}  {cut}")
    if not options.json:
        print(f"{count} dead letter{'' if count == 1 else 's'}")
    return 0


def show(options: argparse.Namespace) -> int:
    """Print all that is known of one letter."""
    found = find(_running(), options.id)
    if not found:
        raise LaunchError(f"there is no dead letter {options.id}: ./sidecart dead-letters list shows all")
    if len({each.id for each in found}) > 1:
        raise LaunchError(f"{len(found)} dead letters begin with {options.id}: give more of the id")
    for letter in found:
        for name in ("id", "service", "topic", "time", "reason", "traceparent"):
            print(f"{name:12} {getattr(letter, name)}")
        print("event")
        print(_pretty(letter.event))
    return 0


def _pretty(event: str) -> str:
    """The event as JSON over several lines, or as it came if it is none."""
    try:
        return json.dumps(json.loads(event), indent=2, ensure_ascii=False)
    except ValueError:
        return event


def _running() -> Load:
    shop = runfile.read()
    if shop is None or not shop.ready:
        raise LaunchError("no shop is running: start one with make run")
    return loader(shop.ports, shop.tokens["DAPR_API_TOKEN"])
