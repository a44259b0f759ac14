"""The network between the nodes, and the link to this machine."""

from __future__ import annotations

from sidecart.launcher.deadline import Deadline
from sidecart.launcher.processes import Processes
from tests.kubernetes.cluster import addresses
from tests.kubernetes.cluster.namespaces import Namespace, run

HOST_LINK = "sck8s"
BRIDGE = "nodes"


class Switch(Namespace):
    """A bridge in a namespace of its own, because only there packets are forwarded."""

    def __init__(self, processes: Processes) -> None:
        super().__init__(processes, "switch")

    def create(self, deadline: Deadline) -> None:
        """Create the bridge and the routes of this machine to nodes, pods and services."""
        super().create(deadline)
        run("ip", "link", "add", HOST_LINK, "type", "veth", "peer", "name", "host", "netns", str(self.pid))
        run("ip", "addr", "add", f"{addresses.HOST}/{addresses.LINK_BITS}", "dev", HOST_LINK)
        run("ip", "link", "set", HOST_LINK, "up")
        bits = addresses.NODES.partition("/")[2]
        for line in (
            f"ip addr add {addresses.SWITCH}/{addresses.LINK_BITS} dev host",
            "ip link set host up",
            "ip link set lo up",
            f"ip link add {BRIDGE} type bridge",
            f"ip addr add {addresses.GATEWAY}/{bits} dev {BRIDGE}",
            f"ip link set {BRIDGE} up",
        ):
            self.run(*line.split())
        self.run("sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")
        for network in (addresses.NODES, addresses.PODS, addresses.SERVICES):
            run("ip", "route", "replace", network, "via", addresses.SWITCH)
        # the node with the control plane takes the requests of this machine to services
        self.run("ip", "route", "add", addresses.SERVICES, "via", addresses.node(0))

    def connect(self, node: Namespace, number: int) -> None:
        """Connect a node, and route to its pods."""
        port = f"node{number}"
        self.run("ip", "link", "add", port, "type", "veth", "peer", "name", "eth0")
        run("nsenter", "-t", str(self.pid), "-n", "--", "ip", "link", "set", "eth0", "netns", str(node.pid))
        self.run("ip", "link", "set", port, "master", BRIDGE, "up")
        bits = addresses.NODES.partition("/")[2]
        for line in (
            "ip link set lo up",
            f"ip addr add {addresses.node(number)}/{bits} dev eth0",
            "ip link set eth0 up",
            f"ip route add default via {addresses.GATEWAY}",
        ):
            node.run(*line.split())
        node.run("sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")
        self.run("ip", "route", "add", addresses.pods(number), "via", addresses.node(number))
