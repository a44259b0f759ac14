"""A folder of component files for servers that the launcher does not know (`run --components`).

The folder decides everything about the servers: the types of the components, their settings, scopes
and secrets. It may also have resiliency policies, which override those of the project for the
components that they name, and declarative subscriptions. The project decides the rest: its own
policies, the sidecars' Configuration, and the subscriptions of its apps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sidecart.chassis.publish_components import is_further
from sidecart.chassis.sidecar_api import PUBSUB, STORE
from sidecart.launcher import topic_scopes
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.topics import GATEWAY, INBOX, REPLIES, component_of, read_topics

SUFFIXES = (".yaml", ".yml")
"""The files that a sidecar reads in a resource folder, one level deep."""
SET_BY_LAUNCHER = ("POD_NAME", "APP_API_TOKEN", "DAPR_API_TOKEN", "DAPR_HOST_IP", "NAMESPACE", *topic_scopes.NAMES)

LEFT_OUT = (
    "whether the servers answer before the sidecars start: a sidecar that reaches none ends and restarts",
    "whether the servers have data of another version of Sidecart",
    "how many consumers each topic has at the broker: the sidecars report their own subscriptions only",
    "whether the broker still has subscriptions of removed gateways: delete them there",
    "whether a failed sidecar must wait for its servers: after ten ends in a row the system stops",
    "the live page, which counts events at the broker: it is not started",
)
"""The tasks of the launcher on managed servers only, one line each."""


@dataclass(frozen=True, slots=True)
class Component:
    """One component of a folder."""

    file: Path
    name: str
    type: str
    scopes: tuple[str, ...]
    """The apps that load it; empty for all."""
    variables: tuple[str, ...]
    """The environment variables that it reads."""


@dataclass(frozen=True, slots=True)
class Use:
    """A component name that apps use."""

    kind: str
    """The first part of the type: pubsub or state."""
    apps: tuple[str, ...]


def read_components(folder: Path) -> list[Component]:
    """Read the components of a folder; raise LaunchError if a file cannot be read."""
    if not folder.is_dir():
        raise LaunchError(f"{folder} is not a folder of component files")
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file())
    return [_component(file, each) for file in files for each in _documents(file) if each.get("kind") == "Component"]


def _documents(file: Path) -> Iterator[dict[str, Any]]:
    try:
        for document in yaml.safe_load_all(file.read_text(encoding="utf-8")):
            if isinstance(document, dict):
                yield document
    except (OSError, UnicodeDecodeError) as error:
        raise LaunchError(f"{file} cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise LaunchError(f"{file} is not YAML: {' '.join(str(error).split())}") from error


def _component(file: Path, document: Mapping[str, Any]) -> Component:
    try:
        settings = document["spec"].get("metadata") or ()
        return Component(
            file=file,
            name=str(document["metadata"]["name"]),
            type=str(document["spec"]["type"]),
            scopes=tuple(map(str, document.get("scopes") or ())),
            variables=tuple(str(each["envRef"]) for each in settings if "envRef" in each),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise LaunchError(f"{file} has an incomplete component: {error!r}") from error


def uses_of(app_ids: Iterable[str], known: Iterable[str] = ()) -> dict[str, Use]:
    """Return the components that these apps use, by name.

    Every app publishes and keeps records. Each app reads its topics on the component that the topic
    list names, and the probe of its readiness on its own component (launcher/topics.py). Of the
    `known` components, apps also use those that help `pubsub`.
    """
    apps = tuple(dict.fromkeys(app_ids))
    readers: dict[str, set[str]] = {}
    for app_id in apps:
        readers.setdefault(REPLIES if app_id == GATEWAY else INBOX, set()).add(app_id)
        for topic in read_topics().values():
            if app_id in topic.consumers:
                readers.setdefault(component_of(app_id, topic), set()).add(app_id)
    reading = {name: Use("pubsub", tuple(sorted(some))) for name, some in readers.items()}
    publishing = {name: Use("pubsub", apps) for name in (PUBSUB, *filter(is_further, known))}
    return {**publishing, STORE: Use("state", apps), **reading}


def check(folder: Path, components: Iterable[Component], uses: Mapping[str, Use]) -> None:
    """Raise LaunchError that names each component which the folder lacks, and its apps."""
    found = list(_problems(folder, {each.name: each for each in components}, uses))
    if found:
        raise LaunchError(f"{folder} does not fit the apps:" + "".join(f"\n  {each}" for each in found))


def _problems(folder: Path, components: Mapping[str, Component], uses: Mapping[str, Use]) -> Iterator[str]:
    for name, use in uses.items():
        component = components.get(name)
        if component is None:
            yield f"{folder}: no component `{name}` ({use.kind}.*), used by {', '.join(use.apps)}"
            continue
        if component.type.partition(".")[0] != use.kind:
            yield f"{component.file}: `{name}` is {component.type}, but the apps need {use.kind}.*"
        if outside := [app_id for app_id in use.apps if component.scopes and app_id not in component.scopes]:
            yield f"{component.file}: the scopes of `{name}` lack {', '.join(outside)}"


def variables_of(components: Iterable[Component], environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that the components read; raise LaunchError if one is not set."""
    found = {}
    for component in components:
        for name in component.variables:
            if name in SET_BY_LAUNCHER:
                continue
            if name not in environ:
                raise LaunchError(f"{component.file}: the environment lacks {name}, which `{component.name}` reads")
            found[name] = environ[name]
    return found
