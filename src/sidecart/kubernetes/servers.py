"""The servers of the trial overlays: one StatefulSet with a volume for each.

One pod is no production setup: use an operator or a managed service there, with these settings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sidecart.kubernetes import names, network
from sidecart.kubernetes.documents import Document, document, text
from sidecart.kubernetes.pods import confined, resources, restricted, scratch
from sidecart.kubernetes.workloads import REASONS as WORKLOAD_REASONS
from sidecart.kubernetes.workloads import disruption_budget, services
from sidecart.launcher.permissions import ADMINISTRATOR
from sidecart.launcher.servers.postgres import CONNECTIONS_MAX
from sidecart.launcher.servers.registry import BROKERS

UID = 999
"""The uid of the official images of these servers (Debian and Ubuntu)."""
LOGINS = "/logins"
"""The folder with the files of the Secret."""
ACL_FILE, DEFINITIONS_FILE, ROLES_FILE, PASSWORD = "logins.acl", "definitions.json", "roles.sql", "password"
"""The keys of the Secrets."""
DATABASE = "sidecart"

CONSUMER_TIMEOUT = "consumer_timeout = 300000"
RABBITMQ_CONF = f"""\
# In milliseconds: five minutes, as in containers (docs/adr/0022).
{CONSUMER_TIMEOUT}
load_definitions = {LOGINS}/{DEFINITIONS_FILE}
"""
REASONS = {
    "automountServiceAccountToken:": "No server calls the API server.",
    "fsGroupChangePolicy:": "Otherwise each start would open the files of the server to its group, which Erlang's "
    "cookie and PostgreSQL's folder must not be.",
    "resources:": "Estimates, not measured in a cluster.",
    "livenessProbe:": "Slow on purpose: a server that recovers its data must not be killed.",
    "volumeClaimTemplates:": "The volume outlives the pod and the StatefulSet.",
    **WORKLOAD_REASONS,
}
REDIS_REASON = {
    "args:": "Redis writes to the append-only file before it answers, and flushes it to disk every second. A full "
    "server refuses writes; with another policy it would delete records and events (docs/adr/0055)."
}


@dataclass(frozen=True, slots=True)
class Trial:
    """One server: its container, and where its data and its logins are."""

    name: str
    data: str
    check: Sequence[str]
    """The command that succeeds while the server answers."""
    is_check_slow: bool = field(default=False, kw_only=True)
    """Whether the command takes a second of CPU, so that only the liveness probe runs it."""
    stop_seconds: int
    memory: tuple[str, str]
    logins: str = LOGINS
    args: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    password_as: str = ""
    """The variable with the administrator's password."""
    scratch: Sequence[tuple[str, str]] = (("tmp", "/tmp"),)
    conf: Mapping[str, str] = field(default_factory=dict)
    """A file of the server's configuration: its path, and its text."""


REDIS = Trial(
    name="redis",
    data="/data",
    check=["redis-cli", "-e", "--user", ADMINISTRATOR, "ping"],
    stop_seconds=20,
    memory=("256Mi", "2Gi"),
    args=[
        "redis-server",
        *("--aclfile", f"{LOGINS}/{ACL_FILE}"),
        *("--appendonly", "yes", "--appendfsync", "everysec", "--save", ""),
        *("--maxmemory", "1gb", "--maxmemory-policy", "noeviction"),
    ],
    password_as="REDISCLI_AUTH",
)
RABBITMQ = Trial(
    name="rabbitmq",
    data="/var/lib/rabbitmq",
    check=["rabbitmq-diagnostics", "-q", "ping"],
    is_check_slow=True,
    stop_seconds=40,
    memory=("256Mi", "1Gi"),
    scratch=(("tmp", "/tmp"), ("log", "/var/log/rabbitmq")),
    conf={"/etc/rabbitmq/conf.d/20-sidecart.conf": RABBITMQ_CONF},
)
POSTGRES = Trial(
    name="postgres",
    data="/var/lib/postgresql/data",
    check=["pg_isready", "-q", "-h", "127.0.0.1", "-U", ADMINISTRATOR],
    stop_seconds=60,
    memory=("256Mi", "1Gi"),
    logins="/docker-entrypoint-initdb.d",
    # No DETAIL in the log: it quotes keys, and so addresses.
    args=[
        "postgres",
        *("-c", f"max_connections={CONNECTIONS_MAX}"),
        *("-c", "log_min_messages=warning", "-c", "log_error_verbosity=terse"),
    ],
    env={
        "POSTGRES_USER": ADMINISTRATOR,
        "POSTGRES_DB": DATABASE,
        "POSTGRES_INITDB_ARGS": "--auth=scram-sha-256 --encoding=UTF8 --locale=C",
        "PGDATA": "/var/lib/postgresql/data/pgdata",
    },
    password_as="POSTGRES_PASSWORD",
    scratch=(("tmp", "/tmp"), ("run", "/var/run/postgresql")),
)
TRIALS: Mapping[str, Trial] = {each.name: each for each in (REDIS, RABBITMQ, POSTGRES)}


def server_file(name: str) -> str:
    """Return the file of one server."""
    reasons = {**REASONS, **(REDIS_REASON if name == "redis" else {})}
    return text(
        f"A {name} for trials: one pod with a volume, and its logins from a Secret.", _server(TRIALS[name]), reasons
    )


def _server(trial: Trial) -> Iterator[Document]:
    name, port = trial.name, names.SERVER_PORTS[trial.name]
    yield document("ServiceAccount", name, automountServiceAccountToken=False)
    if trial.conf:
        yield document("ConfigMap", f"{name}-conf", data={_file_of(path): each for path, each in trial.conf.items()})
    yield document(
        "StatefulSet",
        name,
        "apps/v1",
        labels=names.labels(name, names.SERVER_KIND),
        spec={
            "serviceName": names.pod_names_of(name),
            "replicas": 1,
            "selector": {"matchLabels": names.selector(name)},
            "template": {"metadata": {"labels": names.labels(name, names.SERVER_KIND)}, "spec": _pod(trial)},
            "volumeClaimTemplates": [_claim()],
        },
    )
    yield from services(name, {"name": "server", "port": port, "targetPort": "server"})
    yield disruption_budget(name)
    yield from network.flow(name, network.SIDECARS, network.pods_of(name), [port])
    if name in BROKERS:
        yield from network.flow(f"{name}-{names.KEEPER}", network.KEEPERS, network.pods_of(name), [port])


def _pod(trial: Trial) -> dict[str, Any]:
    conf = [{"name": "conf", "configMap": {"name": f"{trial.name}-conf"}}] if trial.conf else []
    # Only the logins are mounted: the password of the administrator is a variable.
    files = {"redis": ACL_FILE, "rabbitmq": DEFINITIONS_FILE, "postgres": ROLES_FILE}
    item = {"key": files[trial.name], "path": files[trial.name]}
    return {
        "serviceAccountName": trial.name,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": trial.stop_seconds,
        "securityContext": restricted(UID),
        "containers": [_container(trial)],
        "volumes": [
            {"name": "logins", "secret": {"secretName": names.server_secret(trial.name), "items": [item]}},
            *conf,
            *scratch(*(name for name, _ in trial.scratch), mebibytes=64),
        ],
    }


def _container(trial: Trial) -> dict[str, Any]:
    mounts = [
        {"name": "data", "mountPath": trial.data},
        {"name": "logins", "mountPath": trial.logins, "readOnly": True},
        *({"name": "conf", "mountPath": path, "subPath": _file_of(path)} for path in trial.conf),
        *({"name": name, "mountPath": path} for name, path in trial.scratch),
    ]
    probe: dict[str, Any] = {"exec": {"command": list(trial.check)}, "timeoutSeconds": 15}
    ready = {"tcpSocket": {"port": "server"}} if trial.is_check_slow else probe
    return {
        "name": "server",
        "image": names.SERVER_IMAGES[trial.name],
        **({"args": list(trial.args)} if trial.args else {}),
        "ports": [{"name": "server", "containerPort": names.SERVER_PORTS[trial.name]}],
        **({"env": env} if (env := _environment(trial)) else {}),
        "startupProbe": {**ready, "periodSeconds": 5, "failureThreshold": 60},
        "livenessProbe": {**probe, "periodSeconds": 60, "failureThreshold": 5},
        "readinessProbe": {**ready, "periodSeconds": 10, "failureThreshold": 3},
        "resources": resources("100m", trial.memory[0], "2", trial.memory[1]),
        "securityContext": confined(),
        "volumeMounts": mounts,
    }


def _environment(trial: Trial) -> list[dict[str, Any]]:
    secret = {"secretKeyRef": {"name": names.server_secret(trial.name), "key": PASSWORD}}
    return [
        *({"name": name, "value": value} for name, value in trial.env.items()),
        *([{"name": trial.password_as, "valueFrom": secret}] if trial.password_as else []),
    ]


def _claim() -> dict[str, Any]:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "4Gi"}}}
    return {"metadata": {"name": "data"}, "spec": spec}


def _file_of(path: str) -> str:
    return path.rpartition("/")[2]
