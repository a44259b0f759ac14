"""Which replicas there are: the first goes by its app-id, a further one has a number (gateway-1, order-1)."""

import re
from collections.abc import Iterable, Mapping

from cli.errors import LaunchError
from cli.topics import APPS, GATEWAY, SERVICES, Subscription, subscriptions

GATEWAYS_MAX = 10
REPLICAS_MAX = 10

_NUMBERED = re.compile(rf"({'|'.join(APPS)})-\d+")
_SIDECAR = "-sidecar"


def app_of(name: str) -> str:
    """The app-id of a replica."""
    numbered = _NUMBERED.fullmatch(name)
    return numbered[1] if numbered else name


def pod_name_of(name: str) -> str:
    """What POD_NAME says to a replica: a name of its own, the first one's too."""
    return name if _NUMBERED.fullmatch(name) else f"{name}-0"


def sidecar_of(name: str) -> str:
    """The name of the process that is a replica's sidecar."""
    return f"{name}{_SIDECAR}"


def metrics_of(name: str) -> str:
    """The name of the port at which a replica's metrics are read."""
    return f"{name}-metrics"


def app_for_sidecar(name: str) -> str | None:
    """The replica that a process is the sidecar of, if it is one."""
    return name.removesuffix(_SIDECAR) if name.endswith(_SIDECAR) else None


def replicas_of(app_id: str, number: int) -> list[str]:
    """The names of so many replicas."""
    return [app_id, *(f"{app_id}-{each}" for each in range(1, number))]


def replica_names(gateways: int, replicas: Mapping[str, int], without: frozenset[str] = frozenset()) -> list[str]:
    """The names of all replicas; raise LaunchError for a number that is too large, or an app that is none."""
    if unknown := sorted(set(replicas) - set(SERVICES)):
        raise LaunchError(f"there is no service {', '.join(unknown)}: choose from {', '.join(SERVICES)}")
    counts = {GATEWAY: gateways, **{name: replicas.get(name, 1) for name in SERVICES}}
    for name, number in counts.items():
        most = GATEWAYS_MAX if name == GATEWAY else REPLICAS_MAX
        if not 1 <= number <= most:
            raise LaunchError(f"{number} replicas of {name}: there may be 1 to {most}")
    return [each for name, number in counts.items() if name not in without for each in replicas_of(name, number)]


def readers(names: Iterable[str]) -> dict[Subscription, int]:
    """Every subscription of these replicas, and how many of them share it: a gateway has its own."""
    counts: dict[Subscription, int] = {}
    for name in names:
        app_id = app_of(name)
        for one in subscriptions(pod_name_of(name)):
            if one.app_id == app_id:
                counts[one] = counts.get(one, 0) + 1
    return counts


def subscriptions_of_gone_gateways(gateways: int) -> list[Subscription]:
    """What the broker may still keep for gateways of an earlier run that had more of them."""
    gone = replicas_of(GATEWAY, GATEWAYS_MAX)[gateways:]
    return list(readers(gone))
