"""The limits of a pod: its identity, the calls of other apps, and the ports that it reaches."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from cryptography import x509

from sidecart.kubernetes import names
from sidecart.launcher.topics import GATEWAY, app_ids, service_ids
from tests.kubernetes.cluster.kubectl import Kubectl
from tests.kubernetes.shop import KubernetesShop

STRANGER = "stranger"
CONNECT = """
import socket, sys
from concurrent.futures import ThreadPoolExecutor
def state(target):
    host, port = target.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), 3).close()
    except OSError:
        return "closed " + target
    return "open " + target
with ThreadPoolExecutor(64) as pool:
    print("\\n".join(pool.map(state, sys.argv[1:])))
"""


@pytest.fixture(scope="module")
def stranger(cluster: Kubectl, shop: KubernetesShop) -> Iterator[Kubectl]:
    """Return a kubectl for the namespace of a pod that belongs to another team."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": STRANGER, "namespace": STRANGER},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [
                {
                    "name": "app",
                    "image": names.app_image(),
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["python", "-c", "import time; time.sleep(10**6)"],
                }
            ],
        },
    }
    cluster("create", "namespace", STRANGER)
    cluster.apply(json.dumps(pod))
    cluster("wait", "-n", STRANGER, "--for=condition=Ready", f"pod/{STRANGER}", "--timeout=60s")
    yield cluster.within(STRANGER)
    cluster("delete", "namespace", STRANGER, "--timeout=60s")


def test_each_sidecar_has_the_identity_of_its_app(shop: KubernetesShop) -> None:
    """Sentry signed it for the service account of the pod."""
    read = "import ssl, sys; print(ssl.get_server_certificate((sys.argv[1], int(sys.argv[2]))))"
    for app_id in app_ids():
        (pod,) = shop.pods(app_id)
        port = str(names.SIDECAR_INTERNAL_PORT)
        # only pods of the gateway may reach the port from outside
        pem = shop.kubectl("exec", pod["metadata"]["name"], "-c", "app", "--", "python", "-c", read, "127.0.0.1", port)
        found = x509.load_pem_x509_certificate(pem.encode())
        names_of_it = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        ids = names_of_it.get_values_for_type(x509.UniformResourceIdentifier)

        assert [f"spiffe://public/ns/{names.NAMESPACE}/{app_id}"] == ids


def test_a_foreign_pod_reaches_only_the_gateway(stranger: Kubectl, shop: KubernetesShop) -> None:
    """No sidecar, app, server or issuer answers it; the gateway does."""
    closed = []
    for app_id in app_ids():
        for pod in shop.pods(app_id):
            ports = [3500, 50001, names.SIDECAR_INTERNAL_PORT, names.SIDECAR_METRICS_PORT, names.METRICS_PORT]
            ports += [] if app_id == GATEWAY else [names.APP_PORT]
            closed += [f"{pod['status']['podIP']}:{port}" for port in ports]
    for pod in shop.kubectl.get("pods", "-l", f"{names.KIND_LABEL} in (server,trial)")["items"]:
        ports = [one["containerPort"] for each in pod["spec"]["containers"] for one in each["ports"]]
        closed += [f"{pod['status']['podIP']}:{port}" for port in ports]
    gateway = f"{GATEWAY}.{names.NAMESPACE}.svc:{names.APP_PORT}"

    lines = stranger("exec", STRANGER, "--", "python", "-c", CONNECT, gateway, *closed).splitlines()

    assert [f"open {gateway}", *(f"closed {each}" for each in closed)] == lines


@pytest.mark.parametrize("caller", service_ids())
def test_a_service_may_not_call_another_app(shop: KubernetesShop, caller: str) -> None:
    """Its sidecar serves no invocation at all."""
    call = (
        "import os, urllib.request, urllib.error\n"
        "path = 'http://127.0.0.1:3500/v1.0/invoke/billing/method/account/1'\n"
        "request = urllib.request.Request(path, headers={'dapr-api-token': os.environ['DAPR_API_TOKEN']})\n"
        "try:\n    print(urllib.request.urlopen(request).status)\n"
        "except urllib.error.HTTPError as error:\n    print(error.code)\n"
    )
    (pod,) = shop.pods(caller)

    assert "404" == shop.kubectl("exec", pod["metadata"]["name"], "-c", "app", "--", "python", "-c", call).strip()


def test_the_namespace_refuses_a_pod_that_is_not_restricted(cluster: Kubectl, shop: KubernetesShop) -> None:
    """PodSecurity names what is missing."""
    with pytest.raises(RuntimeError, match='violates PodSecurity "restricted'):
        cluster("run", STRANGER, "-n", names.NAMESPACE, f"--image={names.app_image()}", "--restart=Never")


def test_the_injected_sidecars_are_restricted(shop: KubernetesShop) -> None:
    """They drop all capabilities, and write no file."""
    for app_id in app_ids():
        for pod in shop.pods(app_id):
            (sidecar,) = [each for each in pod["spec"]["initContainers"] if each["name"] == "daprd"]
            context = sidecar["securityContext"]

            assert ["ALL"] == context["capabilities"]["drop"]
            assert context["readOnlyRootFilesystem"] is True
            assert context["allowPrivilegeEscalation"] is False
