"""Which app may call which route of another app through the sidecars (docs/adr/0057).

The gateway reads from the services. All other calls between sidecars are denied. The routes derive
from the gateway's declarations.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from sidecart.edge.declarations import Application
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.identities import NAMESPACE, TRUST_DOMAIN
from sidecart.launcher.topics import GATEWAY

FOLDER = "dapr/access"
"""The same Configurations for containers, as `sidecart scopes` writes them."""


READY_PATH = "/readyz"
"""The gateway is not ready before each service is (src/sidecart/edge/ready.py)."""


def reads_of(app_id: str, application: Application) -> list[str]:
    """Return the paths that the gateway reads from a service, with their parameters in braces."""
    queries = [query.path for query in application.queries if query.app_id == app_id]
    flows = [command.flow for command in application.commands if command.flow is not None]
    return [*queries, *(f"/unfinished/{flow.name}/{{ids}}" for flow in flows if app_id in flow.ends_at)]


def operations_of(paths: Iterable[str]) -> list[str]:
    """Return the patterns of daprd that allow these paths: each path up to its first parameter.

    A pattern of daprd that ends in a parameter also allows every longer path, and `/*` within a
    pattern matches nothing (dapr 1.18.2, pkg/config/acl_trie.go). Raises LaunchError for a path
    that begins with a parameter: its pattern would allow every path.
    """
    found: dict[str, None] = {}
    for path in paths:
        literal = path.partition("{")[0].rstrip("/")
        if not literal:
            raise LaunchError(f"{path}: the path of a query must not begin with a parameter")
        found[f"{literal}/**" if "{" in path else literal] = None
    return list(found)


def configuration(app_id: str, application: Application) -> dict[str, Any]:
    """Return the Configuration by which the sidecar of an app denies every other call."""
    ready = [READY_PATH] if app_id in application.services else []
    operations = operations_of([*ready, *reads_of(app_id, application)])
    gateway = {
        "appId": GATEWAY,
        "trustDomain": TRUST_DOMAIN,
        "namespace": NAMESPACE,
        "defaultAction": "deny",
        "operations": [{"name": each, "httpVerb": ["GET"], "action": "allow"} for each in operations],
    }
    control = {
        "defaultAction": "deny",
        "trustDomain": TRUST_DOMAIN,
        "policies": [gateway] if operations else [],
    }
    return {
        "apiVersion": "dapr.io/v1alpha1",
        "kind": "Configuration",
        "metadata": {"name": "access"},
        "spec": {"accessControl": control},
    }


def texts(app_ids: Iterable[str], application: Application) -> dict[str, str]:
    """Return the content of the file of each app, by file name."""
    return {file_of(each): yaml.safe_dump(configuration(each, application), sort_keys=False) for each in app_ids}


def file_of(app_id: str) -> str:
    """Return the name of the file of an app."""
    return f"{app_id}.yaml"


def write(folder: Path, contents: Mapping[str, str]) -> None:
    """Write the files into a folder, which is created."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in contents.items():
        (folder / name).write_text(text, encoding="utf-8")
