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
    upstream: str = ""
    """A module whose own go.mod and go.sum are the lock, because it replaces dependencies."""

    def find(self, report: Report, deadline: Deadline) -> Path:
        """Return the cached program; build it first if the cache lacks it."""
        return programs.cached(self.name, self.version, self._fetch, report, deadline)

    def _fetch(self, program: Path, report: Report, deadline: Deadline) -> None:
        report(f"building {self.name} {self.version} from its Go module")
        go = builds.go(REMEDY, report, deadline)
        env = dict(os.environ) | {"CGO_ENABLED": "0", "GOWORK": "off", "GOFLAGS": "-mod=readonly"}
        source = program.parent / "source"
        shutil.rmtree(source, ignore_errors=True)
        _copy(self._source(report, deadline), source)
        made = source / f"{self.name}.part"
        command = [go, "build", "-v", "-trimpath", "-ldflags", self.flags, "-o", str(made), self.package]
        builds.run(command, source, env, REMEDY, deadline, _counting(self.name, report))
        made.replace(program)
        shutil.rmtree(source)

    def _source(self, report: Report, deadline: Deadline) -> Path:
        if self.upstream:
            return module_folder(self.upstream, self.version, report, deadline)
        return MODULES / self.module


def _copy(folder: Path, target: Path) -> None:
    """Copy a folder so that it can be removed: a module's is read-only."""
    shutil.copytree(folder, target, copy_function=shutil.copyfile)
    for path in (target, *target.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


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

_KEDA = "github.com/kedacore/keda/v2"


def _keda(name: str, package: str) -> GoProgram:
    flags = f"-s -w -X {_KEDA}/version.Version={versions.KEDA}"
    return GoProgram(name, versions.KEDA, "", package, flags, upstream=_KEDA)


KEDA = _keda("keda", "./cmd/operator")
KEDA_ADAPTER = _keda("keda-adapter", "./cmd/adapter")

OPERATOR = DaprProgram("operator", "DAPR_OPERATOR", packages=1300)
INJECTOR = DaprProgram("injector", "DAPR_INJECTOR", packages=1200)


def keda_folder(report: Report, deadline: Deadline) -> Path:
    """Return the folder of KEDA's source, which has its definitions and deployments."""
    return module_folder(_KEDA, versions.KEDA, report, deadline)


def module_folder(path: str, version: str, report: Report, deadline: Deadline) -> Path:
    """Return the folder of a module's source, such as that of Dapr, which has its Helm chart."""
    go = builds.go(REMEDY, report, deadline)
    command = [go, "mod", "download", "-json", f"{path}@v{version}"]
    answer = builds.run(command, MODULES, dict(os.environ) | {"GOWORK": "off"}, REMEDY, deadline)
    return Path(json.loads(answer)["Dir"])
