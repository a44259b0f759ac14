"""The running shop and whatever else a person points at: who is asked, and with which token."""

import os
from collections.abc import Collection, Sequence
from pathlib import Path

from cli import runfile
from cli.doctor import probes
from cli.doctor.findings import Finding, Place, Severity
from cli.doctor.resources import Component
from cli.doctor.targets import own
from cli.fleet import app_of, readers, served_by
from cli.project import HOME
from cli.servers import rabbitmq, valkey
from cli.servers.known import BROKERS, Broker


def shop(found: runfile.RunFile) -> list[Finding]:
    """What is wrong with the shop that runs here: its sidecars, its servers, who reads."""
    sights = own([found.broker], [found.store])
    expected = {each.name: each for sight in sights for each in sight.components}
    token = found.tokens.get("DAPR_API_TOKEN", "")
    names = sorted(name for name in found.processes if served_by(name) is not None)
    addresses = [f"http://127.0.0.1:{found.ports[name]}" for name in names if name in found.ports]
    told = [one for address in addresses for one in sidecar(address, token, expected.values())]
    data = HOME / "data" / f"{found.broker}-{found.store}"
    if port := found.ports.get(valkey.NAME):
        told += redis(valkey.address_on(port))
    if rabbitmq.NAME in found.ports:
        told += _rabbitmq(data)
    return told + _readers(found, [app for name in names if (app := served_by(name)) is not None])


def sidecar(address: str, token: str, expected: Collection[Component] = ()) -> list[Finding]:
    """What is wrong with a sidecar at an address."""
    return probes.sidecar(address, token, expected, probes.asking(address))


def redis(address: str) -> list[Finding]:
    """What is wrong with a Redis server at host:port."""
    try:
        return probes.redis(address, valkey.settings(address))
    except OSError as error:
        return [_away(address, error)]


def _rabbitmq(data: Path) -> list[Finding]:
    try:
        return probes.rabbitmq(rabbitmq.NAME, rabbitmq.consumer_timeout_ms(data))
    except OSError as error:
        return [_away(rabbitmq.NAME, error)]


def _readers(found: runfile.RunFile, replicas: Sequence[str]) -> list[Finding]:
    broker = BROKERS[found.broker]
    address = _address(found, broker)
    if address is None:
        return []
    try:
        wanted = {
            one: number for one, number in readers(replicas).items() if app_of(one.app_id) in map(app_of, replicas)
        }
        return probes.readers(found.broker, broker.unserved(address, wanted))
    except OSError as error:
        return [_away(found.broker, error)]


def _address(found: runfile.RunFile, broker: Broker) -> str | None:
    """Where the broker is: on a port of the shop's own, or where the environment says."""
    port = found.ports.get(broker.server.names[0])
    return os.environ.get(broker.server.env) if port is None else broker.address_on(port)


def _away(address: str, error: OSError) -> Finding:
    return Finding("server-away", Severity.DANGER, Place(address), str(error), "start it, or see its log")
