"""The cluster that the option --kubernetes names."""

from __future__ import annotations

from sidecart.kubernetes import kubectl, names, start
from sidecart.kubernetes.kubectl import Kubectl
from sidecart.launcher.errors import LaunchError


def system_on(context: str) -> Kubectl:
    """Return kubectl for the namespace of the system; raise LaunchError if it does not exist."""
    found = kubectl.find(context)
    if not start.exists(found):
        raise LaunchError(
            f"the cluster {found.context} has no namespace {names.NAMESPACE}: start the system with "
            f"./sidecart kubernetes up --context {found.context}"
        )
    return found.within(names.NAMESPACE)
