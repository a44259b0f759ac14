"""An API server with the definitions of Dapr, KEDA and the Prometheus operator; it runs nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sidecart.kubernetes import names
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.project import root
from tests.kubernetes.cluster import programs, versions
from tests.kubernetes.cluster.api_server import ApiServer
from tests.kubernetes.cluster.kubectl import Kubectl

KEDA, PROMETHEUS = "config/crd/bases/keda.sh", "example/prometheus-operator-crd/monitoring.coreos.com"
DEFINITIONS = {
    ("github.com/dapr/dapr", versions.DAPR): ["charts/dapr/crds"],
    ("github.com/kedacore/keda/v2", versions.KEDA): [
        f"{KEDA}_scaledobjects.yaml",
        f"{KEDA}_triggerauthentications.yaml",
    ],
    ("github.com/prometheus-operator/prometheus-operator", versions.PROMETHEUS_OPERATOR): [
        f"{PROMETHEUS}_podmonitors.yaml",
        f"{PROMETHEUS}_prometheusrules.yaml",
    ],
}
"""Maps a Go module and its version to the definitions of the objects that the manifests have."""


def definitions(deadline: Deadline) -> list[str]:
    """Return the files and folders of the definitions, as arguments of kubectl."""
    found = []
    for (module, version), paths in DEFINITIONS.items():
        source = programs.module_folder(module, version, print, deadline)
        found += [word for path in paths for word in ("-f", str(source / path))]
    return found


@pytest.fixture(scope="session")
def kubectl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubectl]:
    """Return a kubectl for the API server.

    The namespace exists already, so that its PodSecurity holds for every applied object.
    """
    deadline = Deadline()
    files = definitions(deadline)
    with ApiServer(tmp_path_factory.mktemp("api-server"), print, deadline) as server:
        server.kubectl("apply", "--server-side", *files)
        server.kubectl("wait", "--for=condition=Established", *files, "--timeout=60s")
        server.kubectl("apply", "-f", str(root() / names.FOLDER / "base" / "namespace.yaml"))
        yield server.kubectl
