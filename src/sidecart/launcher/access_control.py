"""Which app may call which route of another app through the sidecars (docs/adr/0057).

The gateway reads from the services. All other calls between sidecars are denied. The routes derive
from the gateway's declarations.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import yaml

from sidecart.edge.declarations import Application
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.identities import NAMESPACE, TRUST_DOMAIN
from sidecart.launcher.topics import GATEWAY

FILE = "dapr/access.yaml"
"""The same Configuration for containers, as `sidecart scopes` writes it."""
HEAD = """\
# Written by `sidecart scopes`: which app may call which route of another app through the sidecars.
# It needs mTLS, without which it denies every call (docs/adr/0057).
"""


READY_PATH = "/readyz"
"""The gateway is not ready before each service is (src/sidecart/edge/ready.py)."""


def reads_of(app_id: str, application: Application) -> list[str]:
    """Return the paths that the gateway reads from a service, with their parameters in braces."""
    queries = [query.path for query in application.queries if query.app_id == app_id]
    flows = [command.flow for command in application.all_commands if command.flow is not None]
    erasures = [erasure.location for erasure in application.erasures if erasure.app_id == app_id]
    exports = [export.location for export in application.exports if app_id in export.app_ids]
    ends = [f"/unfinished/{flow.name}/{{ids}}" for flow in flows if app_id in flow.ends_at]
    return [*queries, *ends, *erasures, *exports]


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


def configuration(application: Application, namespace: str = NAMESPACE) -> dict[str, Any]:
    """Return the Configuration by which every sidecar denies all calls but the gateway's reads.

    `namespace` is that of the gateway's certificate.
    """
    paths = [path for app_id in application.services for path in reads_of(app_id, application)]
    operations = operations_of([READY_PATH, *paths])
    gateway = {
        "appId": GATEWAY,
        "trustDomain": TRUST_DOMAIN,
        "namespace": namespace,
        "defaultAction": "deny",
        "operations": [{"name": each, "httpVerb": ["GET"], "action": "allow"} for each in operations],
    }
    return {
        "apiVersion": "dapr.io/v1alpha1",
        "kind": "Configuration",
        "metadata": {"name": "access"},
        "spec": {"accessControl": {"defaultAction": "deny", "trustDomain": TRUST_DOMAIN, "policies": [gateway]}},
    }


def file_text(application: Application) -> str:
    """Return the content of `FILE`.

    One file serves all sidecars, because a read of another service is a 404.
    """
    return f"{HEAD}{yaml.safe_dump(configuration(application), sort_keys=False)}"
