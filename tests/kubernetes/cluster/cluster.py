"""A whole Kubernetes on this machine: a control plane, two nodes, a name server and Dapr.

It needs no registry, no engine and no systemd, but root, and the Debian packages of `make
system-deps-full`. Everything is built once and cached by version; the images stay in containerd.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from sidecart.kubernetes import names
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.processes import Processes
from sidecart.launcher.programs import Report, cache_folder
from tests.compose.engine import Engine
from tests.kubernetes.cluster import addons, addresses, disk, images, programs
from tests.kubernetes.cluster.control_plane import ControlPlane
from tests.kubernetes.cluster.kubectl import Kubectl
from tests.kubernetes.cluster.namespaces import run
from tests.kubernetes.cluster.node import RUN, Node, NodePrograms
from tests.kubernetes.cluster.switch import HOST_LINK, Switch

NODES = 2
READY_SECONDS = 120
STOP_SECONDS = 5
LOCK_SECONDS = 0.5
CERTIFICATES = "certificates"
ETCD_PORTS = (2379, 2380)


class Cluster:
    """A context manager: entering builds what is missing and starts the cluster, leaving ends it.

    Only one runs at a time, because the networks and the stores of images are the same.
    """

    def __init__(self, report: Report, deadline: Deadline, *, is_full: bool = False) -> None:
        """`is_full` also starts KEDA, whose programs take a quarter of an hour to build once."""
        self._report = report
        self._is_full = is_full
        self._deadline = deadline
        self.folder = cache_folder() / "kubernetes"
        self._images = cache_folder() / "compose"
        self._processes = Processes(self.folder / "logs")
        self._switch = Switch(self._processes)
        self.nodes = [Node(number, self.folder, self._processes) for number in range(NODES)]
        self._plane = ControlPlane(
            self.folder / CERTIFICATES / str(os.getpid()),
            addresses.node(0),
            addresses.API_PORT,
            ETCD_PORTS,
            f"{RUN}/etcd",
        )
        self._stack = ExitStack()
        self._started = time.monotonic()

    @property
    def kubectl(self) -> Kubectl:
        """kubectl, as the administrator."""
        return Kubectl(programs.KUBECTL.find(self._report, self._deadline), self._plane.kubeconfig)

    def __enter__(self) -> Self:
        self._lock()
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _lock(self) -> None:
        """Wait until no other test cluster runs."""
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = self._stack.enter_context((self.folder / "lock").open("w"))
        is_reported = False
        while True:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            if not is_reported:
                self._report("another test cluster runs on this machine: waiting until it ends")
                is_reported = True
            self._deadline.pause(LOCK_SECONDS)

    def _start(self) -> None:
        self._clean()
        self._lap("started")
        # The image of the apps is built while the control plane starts, which mostly waits.
        with self._engine() as engine, ThreadPoolExecutor(1) as pool:
            found = images.archives_of_control_plane(
                engine, self._images, self._report, self._deadline, is_full=self._is_full
            )
            servers = set(names.SERVER_IMAGES.values())
            building = pool.submit(
                images.archives_of_system, engine, self._images, servers, self._report, is_full=self._is_full
            )
            self._start_control_plane(found)
            system = building.result()
        for node in self.nodes:
            self._load(node, system)
        self._lap("images of the system loaded")

    def _start_control_plane(self, found: dict[str, Path]) -> None:
        self._plane.create_certificates([(node.name, node.address) for node in self.nodes])
        self._lap("programs and images of the control plane")
        self._start_nodes()
        for node in self.nodes:
            self._load(node, found)
        self._lap("images loaded")
        self._deadline.until(self._is_ready, READY_SECONDS, lambda: f"no API server: see {self.folder}/logs", 0.2)
        self._start_controllers()
        self.kubectl("wait", "--for=condition=Ready", "node", "--all", f"--timeout={READY_SECONDS}s")
        self._lap("nodes ready")
        addons.start_names(self.kubectl)
        addons.install_dapr(self.kubectl, self.folder / "dapr", self._report, self._deadline)
        self._lap("Dapr ready")
        if self._is_full:
            addons.install_keda(self.kubectl, self._report, self._deadline)
            self._lap("KEDA ready")

    @contextlib.contextmanager
    def _engine(self) -> Iterator[Engine]:
        self._images.mkdir(parents=True, exist_ok=True)
        with (self._images / "lock").open("w") as lock:  # the tests of the compose file use the same engine
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield Engine(self._images)

    def _start_nodes(self) -> None:
        self._switch.create(self._deadline)
        for node in self.nodes:
            node.create(self._deadline)
            self._switch.connect(node.namespace, node.number)
        first = self.nodes[0].namespace
        first.start("etcd", self._plane.etcd())
        first.start("api-server", self._plane.api_server(self._find(programs.API_SERVER)))
        for node in self.nodes:
            node.start_containers(images.PAUSE, self._deadline)

    def _start_controllers(self) -> None:
        first = self.nodes[0].namespace
        first.start("controllers", self._plane.controller_manager(self._find(programs.CONTROLLER_MANAGER)))
        first.start("scheduler", self._plane.scheduler(self._find(programs.SCHEDULER)))
        own = NodePrograms(*map(self._find, (programs.KUBELET, programs.KUBE_PROXY)))
        for node in self.nodes:
            node.start(own, self._plane)
        ready = partial(self._has_nodes, NODES)
        self._deadline.until(ready, READY_SECONDS, lambda: f"no nodes: see {self.folder}/logs", 0.2)
        for node in self.nodes:
            node.start_policies(self._find(programs.KUBE_ROUTER), self._plane)

    def _has_nodes(self, count: int) -> bool:
        return len(self.kubectl.get("nodes")["items"]) == count

    def _is_ready(self) -> bool:
        try:
            self.kubectl("get", "--raw", "/readyz")
        except RuntimeError:
            return False
        return True

    def _load(self, node: Node, found: dict[str, Path]) -> None:
        """Import the images that containerd does not have yet; its store outlives the cluster."""
        loaded = self.folder / node.name / "loaded"
        loaded.mkdir(parents=True, exist_ok=True)
        for name, archive in found.items():
            mark = loaded / archive.name
            if mark.exists():
                continue
            self._report(f"loading {name} into {node.name}")
            # Unpacked at the first use. An archive whose image has its full name is imported under
            # that name twice, as an index and as its manifest. The second one replaces the first,
            # and the garbage collector may remove the index before `ctr` unpacks it.
            node.ctr("images", "import", "--no-unpack", "--index-name", name, str(archive))
            for old in loaded.glob(f"{archive.stem.rpartition('-')[0]}-*"):
                old.unlink()
            mark.touch()

    def _find(self, program: programs.GoProgram) -> Path:
        return program.find(self._report, self._deadline)

    def _lap(self, what: str) -> None:
        """Report a stage; raise LaunchError if the disk is nearly full, which builds may cause."""
        if (problem := disk.problem(self.folder)) is not None:
            raise LaunchError(problem)
        self._report(f"{time.monotonic() - self._started:6.1f} s  {what}")

    def _stop(self) -> None:
        self._processes.stop([*self._processes.pids()], STOP_SECONDS)
        self._clean()
        self._stack.close()

    def _clean(self) -> None:
        """Remove what a killed cluster left on this machine."""
        with contextlib.suppress(RuntimeError):  # it goes with its other end
            run("ip", "link", "del", HOST_LINK)
        for node in self.nodes:
            node.remove_cgroups()
        # all clusters have one address: the kubeconfig of an earlier one must not reach this one
        shutil.rmtree(self.folder / CERTIFICATES, ignore_errors=True)
