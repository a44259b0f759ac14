"""Whether the Configuration of an app lets it keep its state and publish."""

from __future__ import annotations

from pathlib import Path

import msgspec

from sidecart.chassis.settings import GRPC, HTTP, SIDECAR_API
from sidecart.launcher.documents import convert, read_yaml, shown
from sidecart.launcher.errors import LaunchError

VERSIONS = {HTTP: "v1.0", GRPC: "v1"}
NEEDED = ("state", "publish")


class _Call(msgspec.Struct):
    name: str
    version: str
    protocol: str


class _Api(msgspec.Struct):
    allowed: list[_Call] = []


class _Spec(msgspec.Struct):
    api: _Api = msgspec.field(default_factory=_Api)


class _Configuration(msgspec.Struct):
    spec: _Spec = msgspec.field(default_factory=_Spec)


def check(config: Path, api: str) -> None:
    """Raise LaunchError if a Configuration does not allow the calls of an app over an API.

    A list without an entry for a protocol allows all of it (docs/adr/0053). Without this check, the
    app would take the refusals for an outage of its store.
    """
    listed = convert(read_yaml(config), _Configuration, str(shown(config))).spec.api.allowed
    allowed = {(each.name, each.version) for each in listed if each.protocol == api}
    missing = [name for name in NEEDED if allowed and (name, VERSIONS[api]) not in allowed]
    if missing:
        entries = ", ".join(f"{{name: {name}, version: {VERSIONS[api]}, protocol: {api}}}" for name in missing)
        other = f". Or set {SIDECAR_API}={HTTP}" if api == GRPC else ""
        what = f"{SIDECAR_API}={api} needs further entries of api.allowed"
        raise LaunchError(f"{shown(config)}: {what}: {entries}{other}")
