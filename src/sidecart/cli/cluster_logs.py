"""`sidecart logs --kubernetes`: the logs of the pods on a cluster."""

from __future__ import annotations

from collections.abc import Callable

from sidecart.cli.cluster import system_on
from sidecart.cli.run import stopped_by_signals
from sidecart.kubernetes import logs as cluster_logs
from sidecart.kubernetes.logs import Followed
from sidecart.launcher.errors import LaunchError

Format = Callable[[str, str], str]
"""Formats a line of a process, by the name of the process and its line."""


def show(context: str, name: str | None, follow: bool, count: int, format_for: Callable[[list[str]], Format]) -> int:
    """Print the last lines of each container, and with `follow` new ones until Ctrl-C.

    Raise LaunchError for a name that no workload, pod or sidecar has.
    """
    cluster = system_on(context)
    found = cluster_logs.sources(cluster, name)
    if not found:
        raise LaunchError(f"no such log; available: {', '.join(cluster_logs.known_names(cluster)) or 'none yet'}")
    formatted = format_for([each.name for each in found])
    if not follow:
        for source in found:
            for line in cluster_logs.last_lines(cluster, source, count):
                print(formatted(source.name, line), flush=True)
        return 0
    for source, line in Followed(cluster, name, stopped_by_signals()).lines(found, count):
        print(formatted(source.name, line), flush=True)
    return 0
