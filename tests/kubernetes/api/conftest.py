"""An API server with Dapr's definitions, which checks the manifests and runs nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sidecart.launcher.deadline import Deadline
from tests.kubernetes.cluster import programs, versions
from tests.kubernetes.cluster.api_server import ApiServer
from tests.kubernetes.cluster.kubectl import Kubectl


@pytest.fixture(scope="session")
def kubectl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubectl]:
    """Return a kubectl for the API server."""
    deadline = Deadline()
    source = programs.module_folder("github.com/dapr/dapr", versions.DAPR, print, deadline)
    definitions = str(source / "charts" / "dapr" / "crds")
    with ApiServer(tmp_path_factory.mktemp("api-server"), print, deadline) as server:
        server.kubectl("apply", "--server-side", "-f", definitions)
        server.kubectl("wait", "--for=condition=Established", "-f", definitions, "--timeout=60s")
        yield server.kubectl
