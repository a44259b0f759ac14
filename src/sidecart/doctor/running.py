"""Query the running system, and the sidecars and servers that the command line names."""

import os
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from sidecart.doctor import probes
from sidecart.doctor.findings import Finding, Place, Severity
from sidecart.doctor.resources import Component
from sidecart.doctor.targets import own
from sidecart.launcher import blocking_errors, runfile
from sidecart.launcher.blocking_errors import BlockingError
from sidecart.launcher.processes import Processes
from sidecart.launcher.project import home
from sidecart.launcher.servers import rabbitmq, valkey
from sidecart.launcher.servers.addresses import without_password
from sidecart.launcher.servers.registry import BROKERS
from sidecart.launcher.servers.server import Broker
from sidecart.launcher.topology import app_for_sidecar, app_of, readers, sidecar_of

LOG_LINES = 200


def system(found: runfile.RunFile) -> list[Finding]:
    """Check the running system: its sidecars, its servers and the readers of its topics."""
    configs = [] if found.components else own([found.broker], [found.store])
    ours = [each for config in configs for each in config.components]
    # The ports include those of stopped sidecars, which the doctor must report.
    names = sorted(name for name in found.ports if app_for_sidecar(name) is not None)
    findings = [
        one
        for name in names
        for one in sidecar(_url(found, name), found.tokens.get(name, ""), _expected(found, name, ours), name)
    ]
    data = home() / "data" / f"{found.broker}-{found.store}"
    if valkey.NAME in found.ports and valkey.ENV in found.addresses:
        findings += redis(found.addresses[valkey.ENV])
    if rabbitmq.NAME in found.ports:
        findings += _rabbitmq(data)
    return findings + _readers(found, [app for name in names if (app := app_for_sidecar(name)) is not None])


def _expected(found: runfile.RunFile, name: str, ours: Iterable[Component]) -> list[Component]:
    """The project's components in the folders that the sidecar was started with."""
    folders = {Path(folder).resolve() for folder in found.resources.get(name, ())}
    by_name = {each.name: each for each in ours if each.document.file.resolve().parent in folders}
    return list(by_name.values())


def _url(found: runfile.RunFile, name: str) -> str:
    return f"http://127.0.0.1:{found.ports[name]}"


def sidecar(address: str, token: str, expected: Collection[Component] = (), name: str = "") -> list[Finding]:
    """Check the sidecar at an address; `name` is its process name, if known."""
    return probes.sidecar(Place(f"{name} {address}".strip()), token, expected, probes.asking(address))


def redis(address: str) -> list[Finding]:
    """Check the Redis server at host:port, with a login if it needs one."""
    shown = without_password(address)
    try:
        return probes.redis(shown, valkey.settings(address))
    except OSError as error:
        return [_unreachable(shown, error)]


def _rabbitmq(data: Path) -> list[Finding]:
    try:
        return probes.rabbitmq(rabbitmq.NAME, rabbitmq.consumer_timeout_ms(data))
    except OSError as error:
        return [_unreachable(rabbitmq.NAME, error)]


def _readers(found: runfile.RunFile, replicas: Sequence[str]) -> list[Finding]:
    broker = BROKERS.get(found.broker)  # there is none if a folder of components names the servers
    address = None if broker is None else _address(found, broker)
    if broker is None or address is None:
        return []
    try:
        return probes.readers(found.broker, broker.unread(address, readers(replicas)), _blocking_errors(replicas))
    except OSError as error:
        return [_unreachable(found.broker, error)]


def _blocking_errors(replicas: Iterable[str]) -> dict[str, BlockingError]:
    """By app-id, the server error in the sidecar's log that keeps it from reading."""
    logs = Processes(home() / "logs")
    found = {app_of(name): blocking_errors.first_in(logs.last_lines(sidecar_of(name), LOG_LINES)) for name in replicas}
    return {app_id: each for app_id, each in found.items() if each is not None}


def _address(found: runfile.RunFile, broker: Broker) -> str | None:
    """The broker's address in the running system, or else the environment variable."""
    return found.addresses.get(broker.env) or os.environ.get(broker.env)


def _unreachable(address: str, error: OSError) -> Finding:
    return Finding("server-unreachable", Severity.DANGER, Place(address), str(error), "start it, or see its log")
