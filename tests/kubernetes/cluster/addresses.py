"""The networks of the test cluster. They exist only while it runs, and in namespaces of its own."""

from __future__ import annotations

HOST, SWITCH = "10.213.255.1", "10.213.255.2"
"""The two ends of the link between this machine and the cluster."""
LINK_BITS = 30
NODES = "10.213.0.0/24"
GATEWAY = "10.213.0.1"
"""The switch in the network of the nodes."""
PODS = "10.214.0.0/16"
SERVICES = "10.215.0.0/16"
API_SERVICE = "10.215.0.1"
DNS_SERVICE = "10.215.0.10"
API_PORT = 6443


def node(number: int) -> str:
    """Return the address of a node."""
    return f"10.213.0.{10 + number}"


def pods(number: int) -> str:
    """Return the network of the pods on a node."""
    return f"10.214.{number}.0/24"
