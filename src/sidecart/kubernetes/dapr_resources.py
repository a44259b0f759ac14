"""The resources of Dapr: Components, Resiliency and Configurations, from components/ and dapr/.

The YAML of the launcher stays the only source. On Kubernetes three things differ:

- A component gets the topic scopes as values. The addresses and the logins stay `envRef`, because
  a Secret in a component would be the same for all apps. The injector sets these variables from a
  Secret of each app (`dapr.io/env-from-secret`).
- A broker has one Resiliency. daprd uses the last document that names a component, and the operator
  returns documents in any sequence.
- An app has one Configuration, because daprd reads no second one from the operator.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import reduce
from pathlib import Path
from typing import Any

import yaml

from sidecart.kubernetes.documents import Document
from sidecart.kubernetes.names import NAMESPACE
from sidecart.launcher import access_control
from sidecart.launcher.apps import App, read_apps
from sidecart.launcher.components import SUFFIXES
from sidecart.launcher.consistency import application_of
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.project import root
from sidecart.launcher.topic_scopes import topic_scopes

BROKERS, STORES, POLICIES = "components/brokers", "components/stores", "components/policies"


def components(folder: str) -> list[Document]:
    """Return the Components of a folder of the project, with the topic scopes as values."""
    scopes = topic_scopes()
    return [_component(each, scopes) for each in _documents(root() / folder, "Component")]


def _component(source: Document, scopes: Mapping[str, str]) -> Document:
    settings = [_setting(each, scopes) for each in source["spec"].get("metadata", ())]
    return _placed({**source, "spec": {**source["spec"], "metadata": settings}})


def _setting(source: Mapping[str, Any], scopes: Mapping[str, str]) -> dict[str, Any]:
    if source.get("envRef") in scopes:
        return {"name": source["name"], "value": scopes[source["envRef"]]}
    return dict(source)


def resiliency(broker: str) -> Document:
    """Return the one Resiliency of a broker: the project's policies, then those of its folder."""
    folders = (POLICIES, f"{BROKERS}/{broker}")
    found = [each for folder in folders for each in _documents(root() / folder, "Resiliency")]
    if not found:
        raise LaunchError(f"neither {POLICIES} nor {BROKERS}/{broker} has a Resiliency")
    merged: Document = reduce(_merged, found)
    used = set(_words(merged["spec"]["targets"]))
    retries = merged["spec"]["policies"]["retries"]
    merged["spec"]["policies"]["retries"] = {name: each for name, each in retries.items() if name in used}
    return _placed(merged)


def _words(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for each in value.values():
            yield from _words(each)
    else:
        yield str(value)


def _merged(first: Any, second: Any) -> Any:
    if isinstance(first, dict) and isinstance(second, dict):
        return first | {name: _merged(first.get(name), each) for name, each in second.items()}
    return second


def configurations() -> list[Document]:
    """Return the Configurations that the apps of dapr.yaml name, each with the access control.

    Name resolution is left out: on Kubernetes, daprd asks the DNS of the cluster.
    """
    apps = read_apps()
    access = access_control.configuration(application_of(apps), NAMESPACE)["spec"]
    return [_configuration(file, access) for file in dict.fromkeys(app.config for app in apps.values())]


def _configuration(file: Path, access: Mapping[str, Any]) -> Document:
    source = _read(file)
    spec = {name: each for name, each in source["spec"].items() if name != "nameResolution"}
    return _placed({**source, "spec": {**spec, **access}})


def configuration_of(app: App) -> str:
    """Return the name of an app's Configuration."""
    return str(_read(app.config)["metadata"]["name"])


def variables_of(found: Iterable[Document]) -> list[str]:
    """Return the environment variables that Components read."""
    settings = [each for one in found for each in one["spec"]["metadata"]]
    return list(dict.fromkeys(each["envRef"] for each in settings if "envRef" in each))


def _documents(folder: Path, kind: str) -> list[Document]:
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)
    return [found for file in files if (found := _read(file))["kind"] == kind]


def _read(file: Path) -> Document:
    found: object = yaml.safe_load(file.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise LaunchError(f"{file} is no YAML document with a mapping")
    return found


def _placed(source: Document) -> Document:
    return {**source, "metadata": {"name": source["metadata"]["name"], "namespace": NAMESPACE}}
