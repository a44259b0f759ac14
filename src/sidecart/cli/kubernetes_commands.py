"""`sidecart kubernetes`: start the system on a cluster, and remove it."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import click

from sidecart.cli.arguments import PATH, Text
from sidecart.cli.forwarding import forward
from sidecart.cli.run import say, stopped_by_signals
from sidecart.kubernetes import image, kubectl, names, requirements, start
from sidecart.kubernetes.dapr_chart import Chart
from sidecart.kubernetes.kubectl import CURRENT, Kubectl
from sidecart.kubernetes.kustomizations import OVERLAYS
from sidecart.kubernetes.requirements import Problem
from sidecart.launcher.dapr_release import VERSION as DAPR
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.ports import is_free
from sidecart.launcher.project import make_importable

REMOVE_SECONDS = 180
"""The pods have 35 s to stop, the volumes follow."""

context_option = click.option(
    "--context",
    type=Text(),
    metavar="CONTEXT",
    show_default="the current one",
    help="the context of the kubeconfig",
)
yes_option = click.option("--yes", is_flag=True, help="ask nothing")


@click.group("kubernetes")
def command() -> None:
    """Start the system on a cluster, and remove it."""


@command.command(
    "up",
    epilog="It needs kubectl, and helm to install Dapr. A repeated call applies what has changed. An image is built "
    "and loaded only for clusters of kind, k3d and minikube (docs/how-to/kubernetes.md).",
)
@context_option
@click.option(
    "--overlay", type=click.Choice(list(OVERLAYS)), default=next(iter(OVERLAYS)), help="the broker and the store"
)
@click.option(
    "--kustomization",
    "folder",
    type=PATH,
    metavar="FOLDER",
    help="apply this folder of yours, which includes the overlay",
)
@click.option("--install-dapr", is_flag=True, help="install or update Dapr's control plane without asking")
@click.option(
    "--dapr-chart", default="", metavar="CHART", help="a folder or an archive instead of Dapr's Helm repository"
)
@click.option("--image", "image_name", default="", metavar="NAME:TAG", help="use this image, which is pushed already")
@click.option("--no-build", is_flag=True, help="build and load no image, because the nodes have it")
@click.option(
    "--port", type=click.IntRange(1, 65535), default=8000, metavar="PORT", help="the local port of the gateway"
)
@click.option("--no-forward", is_flag=True, help="end when all is ready, without a port-forward")
@click.option("--no-monitor", is_flag=True, help="do not start the live page")
@yes_option
def up(
    context: str | None,
    overlay: str,
    folder: Path | None,
    install_dapr: bool,
    dapr_chart: str,
    image_name: str,
    no_build: bool,
    port: int,
    no_forward: bool,
    no_monitor: bool,
    yes: bool,
) -> int:
    """Start the system on a cluster, and forward a local port to the gateway until Ctrl-C.

    It checks the cluster, offers to install Dapr, builds and loads the image, applies the
    manifests, and waits until every workload is ready.
    """
    make_importable()
    applied = folder or start.overlay_folder(overlay)
    deadline = stopped_by_signals()
    cluster = chosen(context, yes, "start the system there")
    if not no_forward and not is_free(port):
        raise LaunchError(f"port {port} is in use: choose another one with --port, or give --no-forward")
    loader = _loader(cluster, image_name, no_build)
    _check(requirements.versions(cluster).problems())
    prepare_dapr(cluster, Chart(dapr_chart), install_dapr)
    if loader is not None:
        image.build_and_load(loader, say)
    started = start.Start(cluster, overlay, applied, image_name, say, deadline)
    started.apply()
    started.wait()
    if no_forward:
        say(f"ready: ./sidecart status --kubernetes {cluster.context}")
        return 0
    return forward(cluster, overlay, port, not no_monitor, say, deadline)


@command.command("down")
@context_option
@yes_option
def down(context: str | None, yes: bool) -> int:
    """Delete the namespace of the system, with its volumes, records and events."""
    cluster = chosen(context, True, "")
    if not start.exists(cluster):
        say(f"there is no namespace {names.NAMESPACE}")
        return 0
    question = f"delete the namespace {names.NAMESPACE} with all records and events?"
    if not yes and not asked(question):
        raise LaunchError("nothing is deleted: answer y, or give --yes")
    say(f"deleting the namespace {names.NAMESPACE}")
    start.remove(cluster, REMOVE_SECONDS)
    say(
        f"deleted. Left: Dapr (helm uninstall dapr --namespace {names.CONTROL_PLANE_NAMESPACE}), the image on the "
        "nodes, volumes that a storage class retains, and the passwords in .sidecart/kubernetes"
    )
    return 0


def chosen(context: str | None, yes: bool, purpose: str) -> Kubectl:
    """Return the cluster, after printing which one it is.

    Ask before the system changes a cluster that the caller did not name, unless the cluster is one
    on this machine. Raise LaunchError without an answer.
    """
    found = kubectl.find(context or CURRENT)
    say(f"cluster {found.context} at {kubectl.server_of(found)}")
    if context is None and not yes and image.loader(found.context) is None and not asked(f"{purpose}?"):
        raise LaunchError(f"name the cluster: --context {found.context}, or give --yes")
    return found


def _loader(cluster: Kubectl, image_name: str, no_build: bool) -> image.Loader | None:
    """Return the loader of the image; None if the nodes have it or pull it."""
    if image_name:
        start.image_entry(image_name)
    return None if image_name or no_build else image.required_loader(cluster.context)


def prepare_dapr(cluster: Kubectl, chart: Chart, is_allowed: bool) -> None:
    """Install or update Dapr if the control plane does not fit; raise LaunchError if it may not."""
    found = requirements.control_plane(cluster)
    problems = list(found.problems())
    if not problems:
        say(f"Dapr {found.version} is installed, and its injector drops all capabilities")
        return
    for each in problems:
        say(f"{each.place}: {each.what}")
    command = chart.command(cluster, found.is_installed)
    effect = "update Dapr for every namespace of the cluster" if found.is_installed else f"install Dapr {DAPR}"
    if not is_allowed and not asked(f"{effect}, by {chart.text(command)}?"):
        raise LaunchError(f"install Dapr, or give --install-dapr: {chart.text(command)}")
    chart.install(cluster, found.is_installed)
    _check(requirements.control_plane(cluster).problems())


def asked(question: str) -> bool:
    """Ask on a terminal; without one the answer is no."""
    return sys.stdin.isatty() and click.confirm(question)


def _check(problems: Iterable[Problem]) -> None:
    """Raise LaunchError with every problem."""
    lines = [f"{each.place}: {each.what}: {each.fix}" for each in problems]
    if lines:
        raise LaunchError("\n".join(lines))
