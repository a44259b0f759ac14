"""The NetworkPolicies: nothing is allowed but the flows of the topology.

They need a network plugin that enforces them. Probes come from the node, which plugins admit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sidecart.kubernetes import names
from sidecart.kubernetes.documents import Document, document, text

AMQPS_PORT, HTTPS_PORT = 5671, 443
MAIL_PORTS = (25, 465, 587)
NAMESPACE_LABEL = "kubernetes.io/metadata.name"
SIDECARS = {
    "matchLabels": {names.PART_LABEL: names.PROJECT},
    "matchExpressions": [
        {"key": names.KIND_LABEL, "operator": "In", "values": [names.GATEWAY_KIND, names.SERVICE_KIND]}
    ],
}
"""Selects the pods of all apps."""
GATEWAYS = {"matchLabels": {names.KIND_LABEL: names.GATEWAY_KIND, names.PART_LABEL: names.PROJECT}}
KEEPERS = {"matchLabels": {names.KIND_LABEL: names.KEEPER_KIND, names.PART_LABEL: names.PROJECT}}
SERVICES = {"matchLabels": {names.KIND_LABEL: names.SERVICE_KIND, names.PART_LABEL: names.PROJECT}}

Selector = Mapping[str, Any]


def base_file() -> str:
    """Return the policies that every overlay needs."""
    head = "Deny all, then allow the flows between sidecars, to Dapr's control plane, and to the gateway."
    return text(head, _base())


def _base() -> Iterator[Document]:
    yield policy("default-deny", {}, policyTypes=["Ingress", "Egress"])
    yield policy(
        "dns", {}, egress=[{"to": [namespace(names.DNS_NAMESPACE)], "ports": [*ports(53, protocol="UDP"), *ports(53)]}]
    )
    control_plane = {
        "to": [namespace(names.CONTROL_PLANE_NAMESPACE)],
        "ports": ports(names.SENTRY_PORT, names.OPERATOR_PORT, names.PLACEMENT_PORT),
    }
    yield policy("control-plane", SIDECARS, egress=[control_plane])
    yield policy("callers", GATEWAYS, ingress=[{"ports": ports(names.APP_PORT)}])
    yield from flow("reads", GATEWAYS, SERVICES, [names.SIDECAR_INTERNAL_PORT])


def flow(name: str, source: Selector, target: Selector, numbers: Iterable[int]) -> Iterator[Document]:
    """Allow one flow between pods, at both of its ends."""
    allowed = ports(*numbers)
    yield policy(f"{name}-out", source, egress=[{"to": [{"podSelector": dict(target)}], "ports": allowed}])
    yield policy(f"{name}-in", target, ingress=[{"from": [{"podSelector": dict(source)}], "ports": allowed}])


def policy(name: str, selected: Selector, **rules: Any) -> Document:
    """Return one policy for the selected pods; empty for all pods of the namespace."""
    kinds = [kind for kind, key in (("Ingress", "ingress"), ("Egress", "egress")) if key in rules]
    return document(
        "NetworkPolicy",
        name,
        "networking.k8s.io/v1",
        spec={"podSelector": dict(selected), **({"policyTypes": kinds} if kinds else {}), **rules},
    )


def pods_of(name: str) -> Selector:
    """Return the selector of the pods of one workload."""
    return {"matchLabels": names.selector(name)}


def namespace(name: str) -> dict[str, Any]:
    """Return the peer that is all pods of a namespace."""
    return {"namespaceSelector": {"matchLabels": {NAMESPACE_LABEL: name}}}


def ports(*numbers: int, protocol: str = "TCP") -> list[dict[str, Any]]:
    """Return the ports of a rule."""
    return [{"protocol": protocol, "port": each} for each in numbers]


def external_file(senders: Iterable[str]) -> str:
    """Return the policies towards servers outside the namespace; `senders` send mails."""
    head = "Towards your servers, at any address: replace `to` by the addresses of your servers."
    return text(head, _external(senders))


def _external(senders: Iterable[str]) -> Iterator[Document]:
    anywhere = [{"ipBlock": {"cidr": "0.0.0.0/0"}}]
    servers = [*names.SERVER_PORTS.values(), AMQPS_PORT]
    yield policy("servers", SIDECARS, egress=[{"to": anywhere, "ports": ports(*servers)}])
    yield policy("keeper-broker", KEEPERS, egress=[{"to": anywhere, "ports": ports(*servers)}])
    yield policy("oidc-issuer", GATEWAYS, egress=[{"to": anywhere, "ports": ports(HTTPS_PORT)}])
    for app_id in senders:
        yield policy(f"{app_id}-mail", pods_of(app_id), egress=[{"to": anywhere, "ports": ports(*MAIL_PORTS)}])
