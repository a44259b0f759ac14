"""`sidecart kubernetes up` and `down`, on a cluster without the system (`make test-kubernetes`)."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecart.cli.forwarding import trial_calls
from sidecart.kubernetes import names
from sidecart.kubernetes.kustomizations import OVERLAYS
from sidecart.launcher.ports import free_port
from sidecart.launcher.project import root
from tests.e2e.live_client import LiveClient
from tests.full.documentation import documented
from tests.full.project_copy import foreground, wait_for_line
from tests.kubernetes import overlay as manifests
from tests.kubernetes.cluster.kubectl import Kubectl, from_environment
from tests.kubernetes.shop import VOLUMES

OVERLAY = "redis"
UP = "./sidecart kubernetes up --context test --no-build"
DOWN = "./sidecart kubernetes down --context test --yes"
COMMANDS = (UP, DOWN)
SECONDS = 240


@pytest.fixture(scope="module")
def cluster() -> Kubectl:
    """Return the kubectl of a cluster without the system."""
    found = from_environment()
    assert "" == found("get", "namespace", names.NAMESPACE, "--ignore-not-found")
    return found


@pytest.fixture(autouse=True)
def volumes(cluster: Kubectl) -> Iterator[None]:
    """Volumes for the servers, because the test cluster has no storage class."""
    shutil.rmtree(VOLUMES, ignore_errors=True)
    for volume in manifests.volumes(OVERLAY, VOLUMES):
        cluster.apply(json.dumps(volume))
    yield
    assert 0 == run(DOWN).returncode
    for server in OVERLAYS[OVERLAY].servers:
        cluster("delete", "persistentvolume", f"test-{server}", "--timeout=30s")


def run(command: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the folder of the project."""
    return subprocess.run(
        ["bash", "-c", command],
        cwd=root(),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def test_one_command_starts_the_shop_and_the_printed_calls_work(cluster: Kubectl, tmp_path: Path) -> None:
    """Ctrl-C ends the port-forwards only, and `down` removes everything but Dapr."""
    port, log = free_port(), tmp_path / "log"
    with foreground(root(), f"{documented(UP)} --port {port}", log, env=os.environ) as process:
        wait_for_line(process, log, "Ctrl-C ends the port-forwards only", SECONDS)
        printed = log.read_text()
        calls = trial_calls(f"http://127.0.0.1:{port}")
        assert calls in printed.replace("\r\n", "\n")
        page = re.search(r"The live page is at (\S+)", printed)
        assert page is not None, printed
        with LiveClient(page[1]) as viewer:
            viewer.until_tap("on")
            done = run(calls)
            viewer.until(lambda found: any("OrderPaid" in str(each.body) for each in found), "the paid order")
        answers = re.findall(r"\{.*?\}(?=\{|$)", done.stdout.replace("\n", ""))
        assert ["deposit_id", "order_id"] == [next(iter(json.loads(each))) for each in answers], done
        assert re.search(r"gateway +1/1 ready", printed)
    assert "the system runs on" in log.read_text()

    removed = run(documented(DOWN))

    assert (0, "") == (removed.returncode, removed.stderr)
    assert "Left: Dapr" in removed.stdout
    assert "" == cluster("get", "namespace", names.NAMESPACE, "--ignore-not-found")


def test_a_missing_image_is_explained(cluster: Kubectl) -> None:
    """The command ends before its time, and shows the events of each pod."""
    done = run(f"{UP} --no-forward --image registry.invalid/sidecart-app:0.0.1")

    assert 1 == done.returncode
    assert "not ready after" in done.stderr
    assert re.search(r"pod gateway-0: .*(ErrImagePull|ImagePullBackOff)", done.stderr), done.stderr
    assert "event Failed: Failed to pull image" in done.stderr
