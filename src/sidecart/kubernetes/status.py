"""The status of the system on a cluster: its workloads, the gateway, and the events that wait."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sidecart.kubernetes import names, states
from sidecart.kubernetes.forwards import Forwards, secret
from sidecart.kubernetes.kubectl import Kubectl
from sidecart.kubernetes.secrets import address_at
from sidecart.kubernetes.servers import PASSWORD
from sidecart.kubernetes.states import WorkloadState
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.local_http import get
from sidecart.launcher.permissions import ADMINISTRATOR
from sidecart.launcher.servers.registry import BROKERS
from sidecart.launcher.topics import GATEWAY, Subscription, gateway_subscriptions, service_ids, subscriptions
from sidecart.launcher.topology import pod_name_of, replicas_of

READY_PATH = "/readyz"


@dataclass(frozen=True, slots=True)
class Status:
    """The system on one cluster."""

    workloads: Sequence[WorkloadState]
    gateway: str
    """The word of the gateway about itself: ready, or why not."""
    waiting: Mapping[str, int]
    """Undelivered events by consumer; empty if they cannot be read."""
    unread: str
    """Why the waiting events cannot be read; empty if they can."""

    @property
    def is_ready(self) -> bool:
        """Whether every workload and the gateway are ready."""
        return bool(self.workloads) and all(each.is_ready for each in self.workloads) and self.gateway == "ready"


def read(kubectl: Kubectl, forwards: Forwards) -> Status:
    """Read the status; `kubectl` is that of the namespace."""
    workloads = states.read(kubectl)
    if not workloads:
        return Status((), "not there", {}, "")
    try:
        return Status(workloads, gateway(forwards), waiting(kubectl, forwards, workloads), "")
    except (LaunchError, OSError) as error:
        return Status(workloads, gateway(forwards), {}, str(error).strip())


def gateway(forwards: Forwards) -> str:
    """Return what a gateway says about itself."""
    try:
        port = forwards.port(f"service/{GATEWAY}", names.APP_PORT)
    except LaunchError as error:
        return f"no answer ({error})"
    code, body = get(port, READY_PATH)
    return "ready" if code == 200 else f"not ready: {code or 'no answer'} {body}".strip()


def waiting(kubectl: Kubectl, forwards: Forwards, workloads: Sequence[WorkloadState]) -> dict[str, int]:
    """Return the waiting events of each consumer, from the broker of a trial overlay.

    Raise LaunchError if the broker is not in the namespace, and OSError if it does not answer.
    """
    inside = {each.name for each in workloads if each.component == names.SERVER_KIND}
    name = next((each for each in sorted(BROKERS) if each in inside), None)
    if name is None:
        raise LaunchError("the broker is outside the namespace: ask it yourself")
    password = secret(kubectl, names.server_secret(name), PASSWORD)
    port = forwards.port(f"statefulset/{name}", names.SERVER_PORTS[name])
    address = address_at(f"127.0.0.1:{port}", name, ADMINISTRATOR, password)
    gateways = next((each.wanted for each in workloads if each.name == GATEWAY), 1)
    expected = consumers(gateways)
    found = BROKERS[name].waiting(address, [one for each in expected.values() for one in each])
    return {consumer: sum(found[one] for one in each) for consumer, each in expected.items()}


def consumers(gateways: int) -> dict[str, list[Subscription]]:
    """Return the subscriptions of each service, and of each pod of the gateway."""
    first = subscriptions(pod_name_of(GATEWAY), addressed=True)
    found = {app_id: [each for each in first if each.app_id == app_id] for app_id in service_ids()}
    for name in map(pod_name_of, replicas_of(GATEWAY, gateways)):
        found[name] = gateway_subscriptions(name, addressed=True)
    return found
