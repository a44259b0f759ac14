"""The programs of the test cluster, built from Go modules with locked versions and hashes."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sidecart.launcher import builds, programs
from sidecart.launcher.dapr_release import DaprProgram
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.programs import PROGRESS_SECONDS, Report
from tests.kubernetes.cluster import versions

MODULES = Path(__file__).parent / "modules"
REMEDY = "the test cluster needs the Go module proxy"
KUBERNETES_PACKAGES = "k8s.io/component-base/version", "k8s.io/client-go/pkg/version"
"""The packages that hold the version; a kubelet without one takes itself for v0.0.0."""


@dataclass(frozen=True, slots=True)
class GoProgram:
    """A program of one of the locked modules."""

    name: str
    version: str
    module: str
    """The folder of its go.mod and go.sum."""
    package: str
    flags: str = "-s -w"

    def find(self, report: Report, deadline: Deadline) -> Path:
        """Return the cached program; build it first if the cache lacks it."""
        return programs.cached(self.name, self.version, self._fetch, report, deadline)

    def _fetch(self, program: Path, report: Report, deadline: Deadline) -> None:
        report(f"building {self.name} {self.version} from its Go module")
        go = builds.go(REMEDY, report, deadline)
        env = dict(os.environ) | {"CGO_ENABLED": "0", "GOWORK": "off", "GOFLAGS": "-mod=readonly"}
        source = program.parent / "source"
        shutil.rmtree(source, ignore_errors=True)
        shutil.copytree(MODULES / self.module, source)
        made = source / f"{self.name}.part"
        command = [go, "build", "-v", "-trimpath", "-ldflags", self.flags, "-o", str(made), self.package]
        builds.run(command, source, env, REMEDY, deadline, _counting(self.name, report))
        made.replace(program)
        shutil.rmtree(source)


def _counting(name: str, report: Report) -> Callable[[int], None]:
    started = reported_at = time.monotonic()

    def count(lines: int) -> None:
        nonlocal reported_at
        now = time.monotonic()
        if now - reported_at > PROGRESS_SECONDS:
            reported_at = now
            report(f"  building {name}: {lines} packages, {now - started:.0f} s")

    return count


def _kubernetes(name: str) -> GoProgram:
    version = f"v{versions.KUBERNETES}"
    major, minor, _ = versions.KUBERNETES.split(".")
    facts = {"gitVersion": version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    named = [f"-X {each}.{fact}={value}" for each in KUBERNETES_PACKAGES for fact, value in facts.items()]
    flags = " ".join(("-s -w", *named))
    return GoProgram(name, versions.KUBERNETES, "kubernetes", f"k8s.io/kubernetes/cmd/{name}", flags)


API_SERVER = _kubernetes("kube-apiserver")
CONTROLLER_MANAGER = _kubernetes("kube-controller-manager")
SCHEDULER = _kubernetes("kube-scheduler")
KUBELET = _kubernetes("kubelet")
KUBE_PROXY = _kubernetes("kube-proxy")
KUBECTL = _kubernetes("kubectl")
COREDNS = GoProgram("coredns", versions.COREDNS, "coredns", ".")
HELM = GoProgram("helm", versions.HELM, "helm", "helm.sh/helm/v3/cmd/helm")
KUBE_ROUTER = GoProgram(
    "kube-router", versions.KUBE_ROUTER, "kube-router", "github.com/cloudnativelabs/kube-router/v2/cmd/kube-router"
)
PAUSE = GoProgram("pause", versions.PAUSE, "pause", ".")
KUBE_SCORE = GoProgram("kube-score", versions.KUBE_SCORE, "kube-score", "github.com/zegl/kube-score/cmd/kube-score")

OPERATOR = DaprProgram("operator", "DAPR_OPERATOR", packages=1300)
INJECTOR = DaprProgram("injector", "DAPR_INJECTOR", packages=1200)


def module_folder(path: str, version: str, report: Report, deadline: Deadline) -> Path:
    """Return the folder of a module's source, such as that of Dapr, which has its Helm chart."""
    go = builds.go(REMEDY, report, deadline)
    command = [go, "mod", "download", "-json", f"{path}@v{version}"]
    answer = builds.run(command, MODULES, dict(os.environ) | {"GOWORK": "off"}, REMEDY, deadline)
    return Path(json.loads(answer)["Dir"])
