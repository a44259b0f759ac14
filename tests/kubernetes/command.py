"""`sidecart test-kubernetes`: the tests on a real cluster, which it builds and starts."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from sidecart.cli.run import say, stopped_by_signals
from sidecart.kubernetes import kustomizations
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.errors import LaunchError
from tests import suites
from tests.kubernetes import results
from tests.kubernetes.cluster.cluster import Cluster
from tests.kubernetes.cluster.kubectl import Kubectl
from tests.kubernetes.shop import KubernetesShop
from tests.suites import BASELINE, SHOWN, Outcome, Suite

OVERLAYS = ("redis", "rabbitmq-postgres")
"""Both brokers, and both stores."""
FOLDER = "tests/kubernetes"
ONE_COMMAND, COMMANDS = "tests/kubernetes/one_command", "tests/kubernetes/test_commands.py"
IGNORED = ("--ignore", suites.MANIFESTS, "--ignore", ONE_COMMAND)
KEEP_SECONDS = 3600
PROGRAMS = ("etcd", "containerd", "runc", "iptables", "ipset", "nft", "conntrack", "debootstrap", "podman", "buildah")


@click.command("test-kubernetes")
@click.option(
    "--overlay", type=click.Choice([*OVERLAYS, "all"]), default="all", help="test this overlay only", show_default=True
)
@click.option(
    "--reports", type=click.Path(file_okay=False, path_type=Path), help="write what the tests measure to this folder"
)
@click.option("--keep", is_flag=True, help="keep the cluster running after the tests, until Ctrl-C")
def command(overlay: str, reports: Path | None, keep: bool) -> int:
    """Run the end-to-end tests and faults on a Kubernetes of two nodes.

    It starts the control plane, the nodes and Dapr in namespaces of the kernel, without an engine
    and without a registry. FULL=1 runs every test: more faults on each broker, rolling changes,
    autoscaling, and the commands. The exit code is 1 if a test failed.
    """
    require()
    if reports:
        os.environ[results.FOLDER] = str(reports.resolve())
    deadline = stopped_by_signals()
    chosen = OVERLAYS if overlay == "all" else (overlay,)
    with Cluster(say, deadline, is_full=is_full()) as cluster:
        code = suites.report(_outcomes(cluster, chosen, deadline, has_commands=is_full()), [])
        while keep:
            say(f"the cluster runs: export KUBECONFIG={cluster.kubectl.kubeconfig}")
            deadline.pause(KEEP_SECONDS)
    return code


def is_full() -> bool:
    """Return whether FULL=1 asks for every test."""
    return bool(os.environ.get("FULL"))


def require() -> None:
    """Raise LaunchError, with the remedy, if this machine cannot run the cluster."""
    if os.geteuid() != 0:
        raise LaunchError("the test cluster creates namespaces of the kernel: run it as root")
    missing = [each for each in PROGRAMS if shutil.which(each, path=f"{os.environ['PATH']}:/usr/sbin") is None]
    if missing:
        raise LaunchError(f"{', '.join(missing)}: not installed: run `make system-deps-full` on Debian or Ubuntu")


def outcomes(deadline: Deadline) -> list[Outcome]:
    """Run the suites of `make test-full` on a new cluster: also those of the commands."""
    with Cluster(say, deadline, is_full=is_full()) as cluster:
        return _outcomes(cluster, OVERLAYS, deadline, has_commands=True)


def _outcomes(cluster: Cluster, overlays: Sequence[str], deadline: Deadline, *, has_commands: bool) -> list[Outcome]:
    kubectl = cluster.kubectl
    known = {"SHOP": "kubernetes", "KUBECONFIG": str(kubectl.kubeconfig), "KUBECTL": str(kubectl.program)}
    found = []
    if has_commands:
        found.append(suites.alone(Suite("one command on Kubernetes", (*SHOWN, ONE_COMMAND), known), deadline))
    for each in overlays:
        chosen = kustomizations.OVERLAYS[each]
        env = {**known, "BROKER": chosen.broker, "STORE": chosen.store}
        tests = {"end to end": BASELINE}
        if each == overlays[0] or is_full():
            # before the end-to-end tests: these leave dead letters, which an audit would count
            without = () if has_commands else ("--ignore", COMMANDS)
            tests = {"cluster": (*SHOWN, *IGNORED, *without, FOLDER), **tests}
        with TemporaryDirectory() as folder, _applied(kubectl, each, Path(folder), stays=each == overlays[-1]):
            for name, words in tests.items():
                found.append(suites.alone(Suite(f"{name} on Kubernetes with {each}", words, env), deadline))
    return found


def _applied(kubectl: Kubectl, overlay: str, folder: Path, *, stays: bool) -> KubernetesShop:
    """Return the shop that the suites find, and use with connections of their own."""
    return KubernetesShop(kubectl, overlay, folder, say, stays=stays, connects=False)
