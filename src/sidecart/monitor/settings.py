"""The monitor's settings: its own ports, and the addresses of others.

The launcher provides them, or `sidecart.monitor.containers` where no launcher runs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sidecart.chassis.currency import DEFAULT, Currency
from sidecart.chassis.currency import read as read_currency
from sidecart.chassis.settings import LOOPBACK, SettingError, text, whole
from sidecart.chassis.settings import host as read_host
from sidecart.edge.settings import AuthSettings, read_auth, read_gateways
from sidecart.launcher.monitor import GRACE_SECONDS, grace_seconds

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Settings:
    """Read once, at startup."""

    port: int
    """Its own, by which browsers reach it too: the page accepts no other port in a Host header."""
    dapr_grpc_port: int
    app_api_token: str
    dapr_api_token: str
    gateway_url: str
    mail_url: str
    """Of the mail catcher; empty with another mail server, whose mails cannot be read."""
    broker: str
    broker_address: str
    store: str
    auth: AuthSettings | None
    """The issuer of the callers' tokens; None if the gateway needs none."""
    issuer_keys: Path | None
    """The folder of the key of the local issuer; None with another issuer."""
    key: str
    """Of the page: only those who have it may open it."""
    ports: Mapping[str, int]
    """The port of every app and sidecar, by process name."""
    tokens: Mapping[str, str]
    """Its token."""
    hosts: Mapping[str, str]
    """The host of each process that does not run on this machine."""
    host: str = LOOPBACK
    """The address that the page listens on. A caller with the key can use the page's actions."""
    dapr_host: str = LOOPBACK
    grace_seconds: int = GRACE_SECONDS
    currency: Currency = DEFAULT
    gateways: int = 1
    """How many gateways may run: with more than one, each reads its own replies only."""


def read(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings; raise SettingError with the name of a missing or wrong one."""
    return Settings(
        port=whole(environ, "APP_PORT", 1, 65535),
        dapr_grpc_port=whole(environ, "DAPR_GRPC_PORT", 1, 65535),
        app_api_token=text(environ, "APP_API_TOKEN"),
        dapr_api_token=text(environ, "DAPR_API_TOKEN"),
        gateway_url=text(environ, "GATEWAY_URL"),
        mail_url=environ.get("MAIL_URL", ""),
        broker=text(environ, "BROKER"),
        broker_address=text(environ, "BROKER_ADDRESS"),
        store=text(environ, "STORE"),
        auth=read_auth(environ),
        issuer_keys=Path(environ["ISSUER_KEYS"]) if environ.get("ISSUER_KEYS") else None,
        key=text(environ, "PAGE_KEY"),
        ports=_by_process(environ, "PROCESS_PORTS", int),
        tokens=_by_process(environ, "PROCESS_TOKENS", str),
        hosts=_by_process(environ, "PROCESS_HOSTS", str) if environ.get("PROCESS_HOSTS") else {},
        host=read_host(environ, "APP_HOST", LOOPBACK),
        dapr_host=read_host(environ, "DAPR_HOST", LOOPBACK),
        grace_seconds=grace_seconds(environ),
        currency=read_currency(environ),
        gateways=read_gateways(environ),
    )


def _by_process(environ: Mapping[str, str], setting: str, kind: Callable[[Any], V]) -> dict[str, V]:
    try:
        return {str(name): kind(value) for name, value in json.loads(text(environ, setting)).items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise SettingError(setting, "is not a JSON object by process name") from error
