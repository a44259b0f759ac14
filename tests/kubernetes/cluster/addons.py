"""The name server, Dapr's control plane and KEDA, which run before the shop."""

from __future__ import annotations

import re
from pathlib import Path

from sidecart.kubernetes import dapr_chart
from sidecart.launcher.authority import create_authority
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.programs import Report
from tests.kubernetes.cluster import addresses, images, programs, versions
from tests.kubernetes.cluster.kubectl import Kubectl
from tests.kubernetes.cluster.namespaces import run

DAPR_NAMESPACE = "dapr-system"
KEDA_DEPLOYMENTS = ("keda-operator", "keda-metrics-apiserver")
READY_SECONDS = 180
COREDNS = Path(__file__).parent / "coredns.yaml"


def start_names(kubectl: Kubectl) -> None:
    """Start CoreDNS, and wait until it is ready."""
    text = COREDNS.read_text(encoding="utf-8")
    text = text.replace("DNS_SERVICE", addresses.DNS_SERVICE).replace("IMAGE", images.COREDNS)
    kubectl.apply(text)
    kubectl("rollout", "status", "-n", "kube-system", "deployment/coredns", f"--timeout={READY_SECONDS}s")


def install_dapr(kubectl: Kubectl, folder: Path, report: Report, deadline: Deadline) -> None:
    """Install Dapr's control plane with its own chart, as docs/how-to/kubernetes.md says."""
    source = programs.module_folder("github.com/dapr/dapr", versions.DAPR, report, deadline)
    chart = source / "charts" / "dapr"
    helm = programs.HELM.find(report, deadline)
    kubectl("apply", "--server-side", "--force-conflicts", "-f", str(chart / "crds"))
    kubectl("wait", "--for=condition=Established", "-f", str(chart / "crds"), "--timeout=60s")
    # Without a root of their own, sentry creates one, and what started before it waits for it.
    authority = create_authority("cluster.local")
    folder.mkdir(parents=True, exist_ok=True)
    authority.write(folder)
    values = {**dapr_chart.VALUES, "global.imagePullPolicy": "IfNotPresent"}
    files = {
        "dapr_sentry.tls.root.certPEM": folder / "ca.crt",
        "dapr_sentry.tls.issuer.certPEM": folder / "issuer.crt",
        "dapr_sentry.tls.issuer.keyPEM": folder / "issuer.key",
    }
    words = [str(helm), "upgrade", "--install", "dapr", str(chart), "--namespace", DAPR_NAMESPACE]
    words += ["--create-namespace", "--skip-crds", "--wait", "--timeout", f"{READY_SECONDS}s"]
    words += [word for name, value in values.items() for word in ("--set", f"{name}={value}")]
    words += [word for name, file in files.items() for word in ("--set-file", f"{name}={file}")]
    homes = {f"HELM_{name}_HOME": str(folder / "helm") for name in ("CACHE", "CONFIG", "DATA")}
    env = [f"{name}={value}" for name, value in {"KUBECONFIG": str(kubectl.kubeconfig), **homes}.items()]
    run("env", *env, *words, seconds=READY_SECONDS + 60)


def install_keda(kubectl: Kubectl, report: Report, deadline: Deadline) -> None:
    """Install KEDA with its own kustomization, without the webhooks that check its objects."""
    folder = programs.keda_folder(report, deadline) / "config" / "minimal"
    text = kubectl("kustomize", str(folder)).replace("imagePullPolicy: Always", "imagePullPolicy: IfNotPresent")
    for image in (images.KEDA, images.KEDA_ADAPTER):
        title, _, version = image.rpartition(":")
        text = re.sub(rf"{re.escape(title)}:\S+", f"{title}:{version}", text)
    kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)
    for each in KEDA_DEPLOYMENTS:
        kubectl("rollout", "status", "-n", "keda", f"deployment/{each}", f"--timeout={READY_SECONDS}s")
