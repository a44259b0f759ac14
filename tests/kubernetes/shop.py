"""The shop on a cluster, with what the tests of the launcher's shop use of it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import time
import uuid
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from gateway.commands import COMMANDS
from sidecart.kubernetes import names
from sidecart.kubernetes.forwards import SIDECAR_PORT, secret, workload_of
from sidecart.kubernetes.kustomizations import APP_SELECTOR, OVERLAYS
from sidecart.kubernetes.secrets import address_at, secrets_text
from sidecart.kubernetes.servers import PASSWORD
from sidecart.kubernetes.trial import ISSUER_SECRET
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.environment import plain_environment
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.permissions import ADMINISTRATOR
from sidecart.launcher.ports import free_port, is_listening
from sidecart.launcher.processes import Processes
from sidecart.launcher.programs import cache_folder
from sidecart.launcher.project import home, root
from sidecart.launcher.servers.logins import read_logins
from sidecart.launcher.servers.registry import BROKERS
from sidecart.launcher.servers.server import Broker
from sidecart.launcher.topics import GATEWAY, app_ids
from sidecart.launcher.topology import replicas_of, sidecar_of
from sidecart.testkit.acting import Acting
from sidecart.testkit.contents import QUEUES, Backlog, groups, queues
from tests.kubernetes import containers
from tests.kubernetes import overlay as manifests
from tests.kubernetes.cluster.kubectl import Kubectl
from tests.kubernetes.cluster.namespaces import run

READY_SECONDS = 240
DENIED = 403
"""The answer of a sidecar to a route that no access control allows."""
VOLUMES = cache_folder() / "kubernetes" / "volumes"
"""The folder of the volumes, which both nodes see, as they would see a network's storage."""
_TOKENS = [name(app_id) for app_id in app_ids() for name in (names.app_token_of, names.api_token_of)]
STOP_SECONDS = 5
MAILS = "mail"
CREATED = 201
ANSWERED = "sidecart/seconds-to-first-201"
"""The annotation of the namespace with the time of the first response."""


class KubernetesShop:
    """A context manager: entering applies an overlay and waits until the gateway is ready, leaving
    deletes the namespace. A shop that runs already is used as it is, and left running.
    """

    def __init__(
        self,
        kubectl: Kubectl,
        overlay: str,
        folder: Path,
        report: Callable[[str], None],
        *,
        stays: bool = False,
        connects: bool = True,
    ) -> None:
        """Use an overlay; one that `stays` is not deleted, because its cluster ends after it.

        One that does not connect has no port-forwards; the suites that use it have their own.
        """
        self._stays, self._connects = stays, connects
        self.overlay = overlay
        self.kind = OVERLAYS[overlay].broker
        self.cluster = kubectl
        self.kubectl = kubectl.within(names.NAMESPACE)
        self._folder = folder
        self._report = report
        self.deadline = Deadline()
        self.logs = folder / "logs"
        self._processes = Processes(self.logs)
        self.ports = {name: free_port() for name in (MAILS, *OVERLAYS[overlay].servers, *map(sidecar_of, app_ids()))}
        self.issuer_folder = home() / "kubernetes" / ISSUER_SECRET
        self.seconds_to_answer = 0.0
        """From the apply to the first 201; also of a shop that runs already."""
        self.is_addressed = True
        """More gateways may start at any time, so each reads its own replies only."""
        self._is_own = True

    @property
    def url(self) -> str:
        """The gateway's address."""
        return f"http://{manifests.ADDRESS}:{names.APP_PORT}"

    @property
    def mail_url(self) -> str:
        """The mail catcher's address."""
        return f"http://127.0.0.1:{self.ports[MAILS]}"

    @property
    def store_address(self) -> str:
        """The address of the server with the records, with the administrator's login."""
        return self._address(OVERLAYS[self.overlay].store)

    @property
    def broker_address(self) -> str:
        """The address of the broker, with the administrator's login."""
        return self._address(self.kind)

    @property
    def broker(self) -> Broker:
        """The launcher's interface to the broker."""
        return BROKERS[self.kind]

    @property
    def replicas(self) -> list[str]:
        """The replicas that run, as the launcher names them."""
        items = self.kubectl.get("statefulset,deployment", "-l", APP_SELECTOR)["items"]
        counts = {each["metadata"]["name"]: int(each["spec"]["replicas"]) for each in items}
        return [name for app_id in app_ids() for name in replicas_of(app_id, counts[app_id])]

    @property
    def tokens(self) -> dict[str, str]:
        """The token of each app's sidecar, by the sidecar's name."""
        wanted = {sidecar_of(app_id): names.api_token_of(app_id) for app_id in app_ids()}
        known = read_logins(home() / "kubernetes" / "tokens", _TOKENS)
        return {sidecar: known[name] for sidecar, name in wanted.items()}

    def backlog(self) -> list[Backlog]:
        """Return the backlog of every consumer; raise OSError if the broker is unreachable."""
        if self.kind == "redis":
            return groups(self.broker_address)
        try:
            return queues(self.kubectl("exec", "rabbitmq-0", "--", "rabbitmqctl", *QUEUES))
        except RuntimeError as error:
            raise OSError(str(error)) from error

    def _address(self, server: str) -> str:
        password = secret(self.kubectl, names.server_secret(server), PASSWORD)
        return address_at(f"127.0.0.1:{self.ports[server]}", server, ADMINISTRATOR, password)

    def __enter__(self) -> Self:
        self._is_own = not self.cluster("get", "namespace", names.NAMESPACE, "--ignore-not-found")
        try:
            self._start()
        except BaseException:
            self._print_state()
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _start(self) -> None:
        started = time.monotonic()
        if self._is_own:
            shutil.rmtree(VOLUMES, ignore_errors=True)
            self.apply()
        self.deadline.until(self.is_ready, READY_SECONDS, lambda: f"the shop is not ready in {READY_SECONDS} s", 0.2)
        if self._is_own:
            self._register()
            self.cluster("annotate", "namespace", names.NAMESPACE, f"{ANSWERED}={time.monotonic() - started:.1f}")
        namespace = self.cluster.get("namespace", names.NAMESPACE)
        self.seconds_to_answer = float(namespace["metadata"]["annotations"][ANSWERED])
        self._report(f"{self.overlay}: the first 201 came {self.seconds_to_answer:.1f} s after the apply")
        if self._connects:
            self.connect()

    def _register(self) -> None:
        """Send the first request, and wait for its 201."""
        body = {"email": f"first.{uuid.uuid4().hex}@example.com", "name": "First"}
        auth = Acting(self.issuer_folder, COMMANDS)
        answer = httpx.post(f"{self.url}/user/register", json=body, auth=auth, trust_env=False, timeout=READY_SECONDS)
        assert answer.status_code == CREATED, answer.text

    def connect(self) -> None:
        """Forward local ports to the servers and the sidecars that run now."""
        self._processes.stop([*self._processes.pids()], STOP_SECONDS)
        for name in OVERLAYS[self.overlay].servers:
            self._forward(name, f"pod/{name}-0", names.SERVER_PORTS[name])
        self._forward(MAILS, f"deployment/{names.MAIL}", names.MAILS_PORT)
        for app_id in app_ids():
            self._forward_app(app_id)
        self._await_forwards(self.ports)

    def _connect_app(self, app_id: str) -> None:
        """Forward to the sidecar of an app, and follow its log; others keep their connections."""
        self._processes.stop([sidecar_of(app_id), app_id], STOP_SECONDS)
        self._forward_app(app_id)
        self._await_forwards([sidecar_of(app_id)])

    def _forward_app(self, app_id: str) -> None:
        self._forward(sidecar_of(app_id), self.workload(app_id), SIDECAR_PORT)
        words = self.kubectl.command("logs", "--follow", "--tail=-1", self.workload(app_id), "-c", containers.APP)
        self._processes.start(app_id, words, env=plain_environment(), cwd=root())  # its output is the log of the app

    def apply(self) -> str:
        """Apply the namespace, the volumes, the Secrets and the overlay; return kubectl's words."""
        self.cluster("apply", "-f", str(root() / names.FOLDER / "base" / "namespace.yaml"))
        for volume in manifests.volumes(self.overlay, VOLUMES):
            self.cluster.apply(json.dumps(volume))
        self.cluster.apply(secrets_text(self.overlay))
        return self.cluster("apply", "-k", str(manifests.kustomization(self.overlay, self._folder / "overlay")))

    def is_ready(self) -> bool:
        """Return whether a ready gateway answers."""
        try:
            return httpx.get(f"{self.url}/readyz", trust_env=False, timeout=3).status_code == 200
        except httpx.TransportError:
            return False

    def _forward(self, name: str, target: str, port: int) -> None:
        words = self.kubectl.command("port-forward", target, f"{self.ports[name]}:{port}")
        self._processes.start(name, words, env=plain_environment(), cwd=root())

    def _await_forwards(self, wanted: Iterable[str]) -> None:
        """Wait for these port-forwards, which start beside each other."""
        for name in wanted:
            self.until(partial(is_listening, self.ports[name]), f"the port-forward of {name}")

    def start_app(self, name: str) -> None:
        """Start one pod of an app again, without waiting for it."""
        self.kubectl("scale", self.workload(name), "--replicas=1")

    def stop_app(self, name: str) -> None:
        """Stop all pods of an app within a second or two, and wait until they have ended."""
        chosen = ("-l", f"{names.NAME_LABEL}={name}")
        self.kubectl("scale", self.workload(name), "--replicas=0")
        self.kubectl("delete", "pod", *chosen, "--grace-period=1", "--wait=false", "--ignore-not-found")
        self.kubectl("wait", "--for=delete", "pod", *chosen, "--timeout=60s")

    def kill(self, name: str) -> None:
        """Kill the app at once, as a crash would; return when the kubelet has started it again."""
        (pod,) = self.pods(name)
        before = containers.restarts(pod, containers.APP)
        for pid in containers.processes(pod, containers.APP):
            os.kill(pid, signal.SIGKILL)
        self.until(lambda: containers.restarts(self.pods(name)[0], containers.APP) > before, f"a restart of {name}")
        self.kubectl("rollout", "status", self.workload(name), f"--timeout={READY_SECONDS}s")

    def wait_ready(self, name: str) -> None:
        """Wait until an app is ready and the gateway reaches it; for the gateway the whole shop."""
        self.kubectl("rollout", "status", self.workload(name), f"--timeout={READY_SECONDS}s")
        self._connect_app(name)
        if name != GATEWAY:  # the name of a new pod is known some seconds later
            self.until(lambda: self._is_reached(name), f"the gateway to reach {name}")
        if name == GATEWAY:
            self.deadline.until(self.is_ready, READY_SECONDS, lambda: "the gateway is not ready", 0.2)

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for a condition."""
        self.deadline.until(condition, READY_SECONDS, lambda: f"waited {READY_SECONDS} s for {what}", 0.2)

    def wait_all_ready(self) -> None:
        """Wait until every workload is ready, and connect to the pods that run now."""
        for name in (*OVERLAYS[self.overlay].servers,):
            self.kubectl("rollout", "status", f"statefulset/{name}", f"--timeout={READY_SECONDS}s")
        self.kubectl("rollout", "status", f"deployment/{names.MAIL}", f"--timeout={READY_SECONDS}s")
        for app_id in app_ids():
            self.wait_ready(app_id)
        self.connect()

    def restarts(self) -> int:
        """Return how often the containers of the pods that run now were restarted."""
        every = [each["status"] for each in self.kubectl.get("pods")["items"]]
        return sum(
            one["restartCount"]
            for each in every
            for one in (*each.get("containerStatuses", []), *each.get("initContainerStatuses", []))
        )

    def _is_reached(self, name: str) -> bool:
        """Return whether the gateway's sidecar reaches another one, which then denies the route."""
        sidecar = sidecar_of(GATEWAY)
        url = f"http://127.0.0.1:{self.ports[sidecar]}/v1.0/invoke/{name}/method/nothing"
        try:
            answer = httpx.get(url, headers={"dapr-api-token": self.tokens[sidecar]}, trust_env=False, timeout=5)
        except httpx.TransportError:
            return False
        return answer.status_code == DENIED

    def workload(self, name: str) -> str:
        """Return the name of the workload of an app, as kubectl wants it."""
        return workload_of(name)

    def pods(self, name: str) -> list[dict[str, Any]]:
        """Return the pods of an app."""
        return list(self.kubectl.get("pods", "-l", f"{names.NAME_LABEL}={name}")["items"])

    def _print_state(self) -> None:
        with contextlib.suppress(RuntimeError):
            print(self.kubectl("get", "pods", "-o", "wide"))
            print(self.kubectl("get", "events", "--sort-by=.lastTimestamp")[-6000:])
            for name in app_ids():
                print(f"--- {name}")
                print(self.kubectl("logs", self.workload(name), "--all-containers", "--tail=8", "--prefix"))

    def _stop(self) -> None:
        self._processes.stop([*self._processes.pids()], STOP_SECONDS)
        if self._stays or not self._is_own:
            return
        with contextlib.suppress(RuntimeError, LaunchError):
            self.cluster("delete", "namespace", names.NAMESPACE, "--wait=false")
            # No request is held any more, so no pod needs its time to stop.
            self.kubectl("delete", "pod", "--all", "--grace-period=1", "--wait=false")
            run(*self.cluster.command("delete", "namespace", names.NAMESPACE, "--ignore-not-found", "--timeout=120s"))
            for server in OVERLAYS[self.overlay].servers:
                self.cluster("delete", "persistentvolume", f"test-{server}", "--timeout=30s")
