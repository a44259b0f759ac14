"""etcd, the API server, the controllers and the scheduler."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.kubernetes.cluster import addresses, certificates
from tests.kubernetes.cluster.certificates import Authority

Start = Callable[[str, Sequence[str]], None]
"""Starts a program under a name."""
ISSUER = "https://kubernetes.default.svc.cluster.local"
ADMINISTRATORS = "system:masters"
KUBECONFIG = "kubeconfig"


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """One control plane: its folder of certificates, and where it listens."""

    folder: Path
    address: str
    port: int
    etcd_ports: tuple[int, int]
    """The ports of etcd for its clients, and for other members."""
    etcd_data: str

    @property
    def server(self) -> str:
        """The URL of the API server."""
        return f"https://{self.address}:{self.port}"

    @property
    def kubeconfig(self) -> Path:
        """The kubeconfig of the administrator."""
        return self.folder / f"admin.{KUBECONFIG}"

    def kubeconfig_of(self, name: str) -> Path:
        """Return the kubeconfig of a component or a node."""
        return self.folder / f"{name}.{KUBECONFIG}"

    def create_certificates(self, nodes: Sequence[tuple[str, str]]) -> None:
        """Write the certificates and kubeconfigs; `nodes` holds names and addresses."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        authority, front = Authority("kubernetes"), Authority("front-proxy")
        authority.own.write(self.folder, "ca")
        front.own.write(self.folder, "front-proxy-ca")
        front.sign("front-proxy-client").write(self.folder, "front-proxy-client")
        names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost"]
        hosts = [*names, f"{names[2]}.cluster.local", "127.0.0.1", addresses.API_SERVICE, self.address]
        authority.sign("kube-apiserver", hosts=hosts).write(self.folder, "apiserver")
        authority.sign("kubelet-client", [ADMINISTRATORS]).write(self.folder, "kubelet-client")
        certificates.write_service_account_keys(self.folder)
        users = {
            "admin": authority.sign("admin", [ADMINISTRATORS]),
            "controller-manager": authority.sign("system:kube-controller-manager"),
            "scheduler": authority.sign("system:kube-scheduler"),
            "kube-proxy": authority.sign("system:kube-proxy"),
        }
        for name, address in nodes:
            authority.sign(name, hosts=[name, address, "127.0.0.1"]).write(self.folder, name)
            users[name] = authority.sign(f"system:node:{name}", ["system:nodes"])
        for name, user in users.items():
            file = self.kubeconfig_of(name)
            file.write_text(certificates.kubeconfig(self.server, authority, user), encoding="utf-8")

    def etcd(self) -> list[str]:
        """Return the command line of etcd."""
        client, peer = (f"http://127.0.0.1:{port}" for port in self.etcd_ports)
        return [
            *("etcd", "--data-dir", self.etcd_data, "--log-level", "warn", "--unsafe-no-fsync"),
            *("--listen-client-urls", client, "--advertise-client-urls", client),
            *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
            *("--initial-cluster", f"default={peer}"),
        ]

    def api_server(self, program: Path) -> list[str]:
        """Return the command line of the API server."""
        pki = self.folder
        return [
            str(program),
            f"--etcd-servers=http://127.0.0.1:{self.etcd_ports[0]}",
            f"--advertise-address={self.address}",
            f"--bind-address={self.address if self.address == '127.0.0.1' else '0.0.0.0'}",
            f"--secure-port={self.port}",
            f"--service-cluster-ip-range={addresses.SERVICES}",
            "--allow-privileged=true",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            f"--client-ca-file={pki}/ca.crt",
            f"--tls-cert-file={pki}/apiserver.crt",
            f"--tls-private-key-file={pki}/apiserver.key",
            f"--kubelet-client-certificate={pki}/kubelet-client.crt",
            f"--kubelet-client-key={pki}/kubelet-client.key",
            f"--kubelet-certificate-authority={pki}/ca.crt",
            "--kubelet-preferred-address-types=InternalIP",
            f"--service-account-issuer={ISSUER}",
            f"--service-account-key-file={pki}/sa.pub",
            f"--service-account-signing-key-file={pki}/sa.key",
            f"--requestheader-client-ca-file={pki}/front-proxy-ca.crt",
            "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            f"--proxy-client-cert-file={pki}/front-proxy-client.crt",
            f"--proxy-client-key-file={pki}/front-proxy-client.key",
            "--enable-aggregator-routing=true",
            "--profiling=false",
        ]

    def controller_manager(self, program: Path) -> list[str]:
        """Return the command line of the controllers."""
        pki, own = self.folder, self.kubeconfig_of("controller-manager")
        return [
            str(program),
            f"--kubeconfig={own}",
            f"--authentication-kubeconfig={own}",
            f"--authorization-kubeconfig={own}",
            "--bind-address=127.0.0.1",
            f"--client-ca-file={pki}/ca.crt",
            f"--root-ca-file={pki}/ca.crt",
            f"--cluster-signing-cert-file={pki}/ca.crt",
            f"--cluster-signing-key-file={pki}/ca.key",
            f"--service-account-private-key-file={pki}/sa.key",
            "--use-service-account-credentials=true",
            f"--requestheader-client-ca-file={pki}/front-proxy-ca.crt",
            "--leader-elect=false",
        ]

    def scheduler(self, program: Path) -> list[str]:
        """Return the command line of the scheduler."""
        own = self.kubeconfig_of("scheduler")
        return [
            str(program),
            f"--kubeconfig={own}",
            f"--authentication-kubeconfig={own}",
            f"--authorization-kubeconfig={own}",
            "--bind-address=127.0.0.1",
            "--leader-elect=false",
        ]
