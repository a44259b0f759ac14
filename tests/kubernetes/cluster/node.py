"""A node: containerd, the kubelet, kube-proxy, and kube-router for the network policies."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sidecart.launcher.deadline import Deadline
from sidecart.launcher.processes import Processes
from tests.kubernetes.cluster import addresses
from tests.kubernetes.cluster.control_plane import ControlPlane
from tests.kubernetes.cluster.namespaces import Namespace

CGROUPS = Path("/sys/fs/cgroup")
CGROUP_FILES = ("cpuset.cpus", "cpuset.mems")
"""On cgroup v1 a new group has no cores and no memory nodes until it is told."""
RUN = "/run/sck8s"
"""In memory: the state of etcd, containerd and the pods' addresses needs no disk."""
SYSCTLS = {"vm/overcommit_memory": "1", "kernel/panic": "10", "kernel/panic_on_oops": "1"}
"""The kubelet sets these for the whole machine. It sees files instead, which have its values."""
SOCKET_SECONDS = 30
CGROUP_SECONDS = 20
FILES_MAX = 20_000

CONTAINERD = """\
version = 2
root = "{root}"
state = "{run}/containerd"
disabled_plugins = [{disabled}]
[grpc]
  address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  # a lower score is refused without CAP_SYS_RESOURCE
  restrict_oom_score_adj = true
  disable_apparmor = true
  # as containerd 2 does: a name server listens on port 53 without a capability
  enable_unprivileged_ports = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{folder}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = "/usr/sbin/runc"
        SystemdCgroup = false
"""
DISABLED = ("btrfs", "zfs", "devmapper", "aufs")


@dataclass(frozen=True, slots=True)
class NodePrograms:
    """The programs of a node that are built here."""

    kubelet: Path
    kube_proxy: Path


class Node:
    """One node of the cluster; `number` 0 has the control plane beside it."""

    def __init__(self, number: int, folder: Path, processes: Processes) -> None:
        self.number = number
        self.name = f"node-{number}"
        self.address = addresses.node(number)
        self._store = folder / self.name / "containerd"
        self._folder = folder / self.name / "run"
        self.namespace = Namespace(processes, self.name)
        self._processes = processes

    @property
    def socket(self) -> Path:
        """The socket of containerd."""
        return self._folder / "containerd.sock"

    def create(self, deadline: Deadline) -> None:
        """Create the namespaces, without a network yet."""
        shutil.rmtree(self._folder, ignore_errors=True)
        (self._folder / "cni").mkdir(parents=True)
        self.namespace.create(deadline)
        self._create_cgroups()
        self.namespace.run("mkdir", "-p", RUN)
        self.namespace.run("mount", "-t", "tmpfs", "-o", "size=1g", "sck8s", RUN)
        for path, value in SYSCTLS.items():
            file = self._folder / path.rpartition("/")[2]
            file.write_text(f"{value}\n", encoding="ascii")
            self.namespace.run("mount", "--bind", str(file), f"/proc/sys/{path}")
        (self._folder / "resolv.conf").write_text("nameserver 127.0.0.1\n", encoding="ascii")

    def start_containers(self, pause: str, deadline: Deadline) -> None:
        """Start containerd, and wait until it answers."""
        self._write("cni/10-bridge.conflist", self._network())
        text = CONTAINERD.format(
            root=self._store,
            run=RUN,
            socket=self.socket,
            pause=pause,
            folder=self._folder,
            disabled=", ".join(f'"io.containerd.snapshotter.v1.{each}"' for each in DISABLED),
        )
        (self._folder / "containerd.toml").write_text(text, encoding="utf-8")
        self.namespace.start("containerd", ["containerd", "--config", str(self._folder / "containerd.toml")])
        deadline.until(self._answers, SOCKET_SECONDS, lambda: f"containerd of {self.name} does not answer")

    def _answers(self) -> bool:
        try:
            self.ctr("version")
        except RuntimeError:
            return False
        return True

    def ctr(self, *words: str) -> str:
        """Run a command of containerd's client."""
        return self.namespace.run("ctr", "-a", str(self.socket), "-n", "k8s.io", *words)

    def start(self, programs: NodePrograms, plane: ControlPlane) -> None:
        """Start the kubelet and kube-proxy."""
        self._write("kubelet.json", self._kubelet(plane))
        self._write("kube-proxy.json", self._kube_proxy(plane))
        kubelet = [str(programs.kubelet), "--config", str(self._folder / "kubelet.json")]
        kubelet += ["--kubeconfig", str(plane.kubeconfig_of(self.name)), "--root-dir", str(self._folder / "kubelet")]
        kubelet += ["--hostname-override", self.name, "--node-ip", self.address, "--v=1"]
        self.namespace.start("kubelet", kubelet)
        proxy = [str(programs.kube_proxy), "--config", str(self._folder / "kube-proxy.json")]
        self.namespace.start("kube-proxy", proxy)

    def start_policies(self, program: Path, plane: ControlPlane) -> None:
        """Start kube-router, which needs a registered node; it only enforces network policies."""
        router = [str(program), "--kubeconfig", str(plane.kubeconfig)]
        router += ["--run-router=false", "--run-service-proxy=false", "--run-firewall=true"]
        router += ["--hostname-override", self.name, f"--service-cluster-ip-range={addresses.SERVICES}"]
        self.namespace.start("kube-router", router)

    def remove_cgroups(self) -> None:
        """Remove the groups of processes, which are empty soon after the node has ended."""
        late = f"processes of {self.name} have not ended"
        Deadline().until(self._has_removed_cgroups, CGROUP_SECONDS, lambda: late, 0.2)

    def _has_removed_cgroups(self) -> bool:
        try:
            for group in CGROUPS.glob(f"*/sck8s-{self.name}"):
                for folder in sorted((group, *group.rglob("*/")), reverse=True):
                    if folder.is_dir():
                        folder.rmdir()
        except OSError:
            return False  # killed processes are still ending
        return True

    def _create_cgroups(self) -> None:
        for controller in CGROUPS.iterdir():
            if controller.is_symlink() or not controller.is_dir():
                continue
            group = controller / f"sck8s-{self.name}"
            group.mkdir(exist_ok=True)
            for file in CGROUP_FILES:
                if (group / file).exists():
                    (group / file).write_text((controller / file).read_text("ascii"), encoding="ascii")

    def _write(self, name: str, content: dict[str, Any]) -> None:
        (self._folder / name).write_text(json.dumps(content), encoding="utf-8")

    def _network(self) -> dict[str, Any]:
        ranges = [[{"subnet": addresses.pods(self.number)}]]
        addressing = {
            "type": "host-local",
            "dataDir": f"{RUN}/addresses",
            "ranges": ranges,
            "routes": [{"dst": "0.0.0.0/0"}],
        }
        bridge = {"type": "bridge", "bridge": "cni0", "isGateway": True, "ipMasq": False, "hairpinMode": True}
        ports = {"type": "portmap", "capabilities": {"portMappings": True}}
        return {"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge | {"ipam": addressing}, ports]}

    def _kubelet(self, plane: ControlPlane) -> dict[str, Any]:
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "containerRuntimeEndpoint": f"unix://{self.socket}",
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": f"{plane.folder}/ca.crt"},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": f"{plane.folder}/{self.name}.crt",
            "tlsPrivateKeyFile": f"{plane.folder}/{self.name}.key",
            "clusterDomain": "cluster.local",
            "clusterDNS": [addresses.DNS_SERVICE],
            "resolvConf": str(self._folder / "resolv.conf"),
            "failCgroupV1": False,
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/sck8s-{self.name}",
            "cgroupsPerQOS": True,
            "enforceNodeAllocatable": ["pods"],
            "failSwapOn": False,
            "oomScoreAdj": 0,
            "maxOpenFiles": FILES_MAX,
            # both nodes see the memory and the disk of the whole machine
            "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
            # an image that is removed cannot be pulled again
            "imageGCHighThresholdPercent": 100,
            "imageGCLowThresholdPercent": 99,
            "imageMinimumGCAge": "24h",
            # a ConfigMap that changed is seen within this time; the default is a minute
            "syncFrequency": "5s",
            "podLogsDir": str(self._folder / "pod-logs"),
            "serializeImagePulls": False,
            "shutdownGracePeriod": "0s",
        }

    def _kube_proxy(self, plane: ControlPlane) -> dict[str, Any]:
        return {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "clientConnection": {"kubeconfig": str(plane.kubeconfig_of("kube-proxy"))},
            "mode": "nftables",
            "clusterCIDR": addresses.PODS,
            "hostnameOverride": self.name,
            "oomScoreAdj": 0,
            # 0: do not change the limits of the whole machine
            "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
            "nodePortAddresses": [f"{self.address}/32"],
            "metricsBindAddress": "127.0.0.1:10249",
        }
