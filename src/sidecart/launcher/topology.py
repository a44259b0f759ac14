"""The names of replicas: the first has its app-id, further ones a number (gateway-1)."""

import re
from collections.abc import Iterable, Mapping
from functools import cache

from sidecart.chassis.reply_topics import GATEWAYS_MAX
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.topics import (
    GATEWAY,
    Subscription,
    app_ids,
    service_ids,
    subscriptions,
    subscriptions_by_kind,
)

REPLICAS_MAX = 10

_SIDECAR, _GRPC = "-sidecar", "-grpc"


@cache
def _numbered() -> re.Pattern[str]:
    return re.compile(rf"({'|'.join(app_ids())})-\d+")


def app_of(name: str) -> str:
    """The app-id of a replica."""
    numbered = _numbered().fullmatch(name)
    return numbered[1] if numbered else name


def pod_name_of(name: str) -> str:
    """The value of a replica's POD_NAME, which is unique and always numbered."""
    return name if _numbered().fullmatch(name) else f"{name}-0"


def sidecar_of(name: str) -> str:
    """The process name of a replica's sidecar."""
    return f"{name}{_SIDECAR}"


def grpc_of(name: str) -> str:
    """The name of the gRPC port of a replica's sidecar; its HTTP port has the sidecar's name."""
    return f"{sidecar_of(name)}{_GRPC}"


def metrics_of(name: str) -> str:
    """The name of a replica's metrics port."""
    return f"{name}-metrics"


def app_for_sidecar(name: str) -> str | None:
    """The replica that a sidecar process serves; None for another process."""
    return name.removesuffix(_SIDECAR) if name.endswith(_SIDECAR) else None


def app_for_grpc(name: str) -> str | None:
    """The replica that calls a sidecar at this gRPC port; None for another port."""
    return app_for_sidecar(name.removesuffix(_GRPC)) if name.endswith(_GRPC) else None


def replicas_of(app_id: str, number: int) -> list[str]:
    """The names of a number of replicas."""
    return [app_id, *(f"{app_id}-{each}" for each in range(1, number))]


def replica_names(gateways: int, replicas: Mapping[str, int], without: frozenset[str] = frozenset()) -> list[str]:
    """The names of all replicas; raise LaunchError for too large a number or an unknown service."""
    if unknown := sorted(set(replicas) - set(service_ids())):
        raise LaunchError(f"there is no service {', '.join(unknown)}: choose from {', '.join(service_ids())}")
    counts = {GATEWAY: gateways, **{name: replicas.get(name, 1) for name in service_ids()}}
    for name, number in counts.items():
        most = GATEWAYS_MAX if name == GATEWAY else REPLICAS_MAX
        if not 1 <= number <= most:
            raise LaunchError(f"{number} replicas of {name}: choose 1 to {most}")
    return [each for name, number in counts.items() if name not in without for each in replicas_of(name, number)]


def readers(names: Iterable[str], *, addressed: bool | None = None) -> dict[Subscription, int]:
    """Maps every subscription of these replicas to its number of readers.

    Each gateway has its own subscriptions. `addressed`: whether it reads its own replies only;
    None: if there are several gateways among these replicas.
    """
    replicas = list(names)
    if addressed is None:
        addressed = sum(app_of(name) == GATEWAY for name in replicas) > 1
    counts: dict[Subscription, int] = {}
    for name in replicas:
        app_id = app_of(name)
        for one in subscriptions(pod_name_of(name), addressed=addressed):
            if one.app_id == app_id:
                counts[one] = counts.get(one, 0) + 1
    return counts


def reader_of(one: Subscription) -> str:
    """The gateway that has a subscription, or the app-id of the services that share it."""
    names = {pod_name_of(each): each for each in replicas_of(GATEWAY, GATEWAYS_MAX)}
    return names.get(one.consumer_id, one.app_id) if one.app_id == GATEWAY else one.app_id


def subscriptions_of_a_gateway(name: str) -> list[Subscription]:
    """The subscriptions that the broker may have for a gateway of an earlier run, of both kinds."""
    return [one for kind in subscriptions_by_kind(pod_name_of(name)).values() for one in kind]


def surplus_subscriptions(gateways: int) -> list[Subscription]:
    """The subscriptions that the broker may still have of an earlier run, and this one lacks.

    They are those of further gateways, and those of the other kind: one gateway reads the shared
    topics, and each of several its own reply topics.
    """
    wanted = readers(replicas_of(GATEWAY, gateways))
    every = (one for name in replicas_of(GATEWAY, GATEWAYS_MAX) for one in subscriptions_of_a_gateway(name))
    return [one for one in every if one not in wanted]
