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
from sidecart.launcher.components import SUFFIXES, Use, uses_of
from sidecart.launcher.consistency import application_of
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.project import root
from sidecart.launcher.topic_scopes import topic_scopes
from sidecart.launcher.topics import app_ids

SCOPES_REASON = "# Only the sidecars of these apps connect."
BROKERS, STORES, POLICIES = "components/brokers", "components/stores", "components/policies"


def components(folder: str) -> list[Document]:
    """Return the Components of a folder of the project as they are on Kubernetes."""
    found = [source for _, source in _documents(root() / folder, "Component")]
    scopes, uses = topic_scopes(), uses_of(app_ids(), (each["metadata"]["name"] for each in found))
    return [_component(source, scopes, uses) for source in found]


def _component(source: Document, scopes: Mapping[str, str], uses: Mapping[str, Use]) -> Document:
    settings = [_setting(each, scopes) for each in source["spec"].get("metadata", ())]
    name = source["metadata"]["name"]
    apps = source.get("scopes") or (list(uses[name].apps) if name in uses else [])
    return _placed({**source, "spec": {**source["spec"], "metadata": settings}, **({"scopes": apps} if apps else {})})


def _setting(source: Mapping[str, Any], scopes: Mapping[str, str]) -> dict[str, Any]:
    if source.get("envRef") in scopes:
        return {"name": source["name"], "value": scopes[source["envRef"]]}
    return dict(source)


def component_texts(folder: str) -> dict[str, str]:
    """Return the same Components as texts, with the comments of their files, by file name.

    The comments have the reasons of the settings, and the marks of the doctor. Raise LaunchError
    for a file whose form this does not know.
    """
    files = [file for file, _ in _documents(root() / folder, "Component")]
    return {file.name: _text(file, wanted) for file, wanted in zip(files, components(folder), strict=True)}


def _text(file: Path, wanted: Document) -> str:
    text = file.read_text(encoding="utf-8")
    for name, value in topic_scopes().items():
        text = text.replace(f"envRef: {name}\n", f'value: "{value}"\n')
    name_line = f"  name: {wanted['metadata']['name']}\n"
    text = text.replace(name_line, f"{name_line}  namespace: {NAMESPACE}\n", 1)
    if "scopes" in wanted and "\nscopes:" not in text:
        text += f"{SCOPES_REASON}\nscopes:\n" + "".join(f"  - {app_id}\n" for app_id in wanted["scopes"])
    if yaml.safe_load(text) != wanted:
        raise LaunchError(f"{file}: write one document in block style, with `name:` first in its metadata")
    return text


def resiliency(broker: str) -> Document:
    """Return the one Resiliency of a broker: the project's policies, then those of its folder."""
    folders = (POLICIES, f"{BROKERS}/{broker}")
    found = [each for folder in folders for _, each in _documents(root() / folder, "Resiliency")]
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


NAME_RESOLUTION: Mapping[str, Any] = {
    "component": "kubernetes",
    "version": "v1",
    "configuration": {"template": "{{.ID}}.{{.Namespace}}.svc:{{.Port}}"},
}
"""The Service of an app leads to pods that are ready.

By default daprd takes the addresses of the pods from a headless Service and keeps them for 20 s
(dapr 1.18.2, pkg/messaging/direct_messaging.go). Reads fail for so long after the pods were
replaced.
"""


def configurations() -> list[Document]:
    """Return the Configurations that the apps of dapr.yaml name, each with the access control.

    An app's name is resolved to its Service (NAME_RESOLUTION).
    """
    apps = read_apps()
    access = access_control.configuration(application_of(apps), NAMESPACE)["spec"]
    return [_configuration(file, access) for file in dict.fromkeys(app.config for app in apps.values())]


def _configuration(file: Path, access: Mapping[str, Any]) -> Document:
    source = _read(file)
    return _placed({**source, "spec": {**source["spec"], "nameResolution": NAME_RESOLUTION, **access}})


def configuration_of(app: App) -> str:
    """Return the name of an app's Configuration."""
    return str(_read(app.config)["metadata"]["name"])


def variables_of(found: Iterable[Document]) -> list[str]:
    """Return the environment variables that Components read."""
    settings = [each for one in found for each in one["spec"]["metadata"]]
    return list(dict.fromkeys(each["envRef"] for each in settings if "envRef" in each))


def _documents(folder: Path, kind: str) -> list[tuple[Path, Document]]:
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)
    return [(file, found) for file in files if (found := _read(file))["kind"] == kind]


def _read(file: Path) -> Document:
    found: object = yaml.safe_load(file.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise LaunchError(f"{file} is no YAML document with a mapping")
    return found


def _placed(source: Document) -> Document:
    return {**source, "metadata": {"name": source["metadata"]["name"], "namespace": NAMESPACE}}
