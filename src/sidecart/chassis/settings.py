"""Settings: read once from the environment; a missing or wrong one stops startup with its name."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sidecart.chassis.telemetry import logs

LOOPBACK = "127.0.0.1"
CONNECTIONS_MAX = 50_000
CONNECTIONS_PER_ADDRESS_MAX = 500
PROXIES = frozenset({LOOPBACK, "::1"})
SIDECAR_API, HTTP, GRPC = "SIDECAR_API", "http", "grpc"
HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252})")


class SettingError(SystemExit):
    """A setting is missing or wrong; the process exits with one line that names it."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"setting {name}: {why}")


def text(environ: Mapping[str, str], name: str, default: str | None = None) -> str:
    """Return a setting that must not be empty; raise SettingError."""
    value = environ.get(name) or default
    if not value:
        raise SettingError(name, "is missing (see docs/reference/settings.md)")
    return value


def whole(environ: Mapping[str, str], name: str, low: int, high: int, default: int | None = None) -> int:
    """Return a whole number from `low` to `high`, both included; raise SettingError."""
    value = text(environ, name, None if default is None else str(default))
    if not (value.isascii() and value.isdigit() and low <= int(value) <= high):
        raise SettingError(name, f"{value!r} is not a whole number from {low} to {high}")
    return int(value)


def choice(environ: Mapping[str, str], name: str, known: Sequence[str], default: str) -> str:
    """Return a setting that must be one of the `known` words; raise SettingError."""
    value = text(environ, name, default)
    if value not in known:
        raise SettingError(name, f"{value!r} is not one of {', '.join(known)}")
    return value


def host(environ: Mapping[str, str], name: str, default: str | None = None) -> str:
    """Return a host name or an IP address without a port; raise SettingError.

    An IPv6 address loses its brackets.
    """
    value = text(environ, name, default)
    bare = value[1:-1] if value.startswith("[") and value.endswith("]") else value
    try:
        if ":" in value or bare != value:
            ipaddress.IPv6Address(bare)
        elif not HOST_NAME.fullmatch(bare):
            raise ValueError
    except ValueError:
        why = f"{value!r} is not a host name, an IPv4 address or an IPv6 address (without a port)"
        raise SettingError(name, why) from None
    return bare


def addresses(environ: Mapping[str, str], name: str, default: frozenset[str]) -> frozenset[str]:
    """Return a comma-separated list of IP addresses; raise SettingError."""
    words = [each.strip() for each in environ.get(name, "").split(",") if each.strip()]
    try:
        return frozenset(str(ipaddress.ip_address(each)) for each in words) or default
    except ValueError as error:
        raise SettingError(name, str(error)) from None


def sidecar_api(environ: Mapping[str, str]) -> str:
    """Return the API of the sidecar for state and publishes; raise SettingError."""
    return choice(environ, SIDECAR_API, (GRPC, HTTP), GRPC)


def _grpc_port(environ: Mapping[str, str]) -> int | None:
    if sidecar_api(environ) == HTTP:
        return None
    return whole(environ, "DAPR_GRPC_PORT", 1, 65535)


def in_url(host: str) -> str:
    """Return a host as it appears in a URL and in a Host header: an IPv6 address gets brackets."""
    return f"[{host.partition('%')[0]}]" if ":" in host else host


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of every app: addresses, tokens, log format and level, and the metrics port."""

    app_host: str
    app_port: int
    dapr_http_port: int
    app_api_token: str
    dapr_api_token: str
    dapr_host: str = LOOPBACK
    dapr_grpc_port: int | None = None
    """The port of the sidecar's gRPC API, if state and publishes use it."""
    log_format: str = "human"
    log_level: str = "info"
    metrics_host: str = LOOPBACK
    metrics_port: int | None = None
    connections_max: int = CONNECTIONS_MAX
    connections_per_address_max: int = CONNECTIONS_PER_ADDRESS_MAX
    trusted_proxies: frozenset[str] = PROXIES
    """Addresses of proxies on the way of the callers: each of them stands for many callers."""


def read(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings that every app has; raise SettingError."""
    return Settings(
        app_host=host(environ, "APP_HOST", LOOPBACK),
        app_port=whole(environ, "APP_PORT", 1, 65535),
        dapr_http_port=whole(environ, "DAPR_HTTP_PORT", 1, 65535),
        app_api_token=text(environ, "APP_API_TOKEN"),
        dapr_api_token=text(environ, "DAPR_API_TOKEN"),
        dapr_host=host(environ, "DAPR_HOST", LOOPBACK),
        dapr_grpc_port=_grpc_port(environ),
        log_format=choice(environ, "LOG_FORMAT", logs.FORMATS, "human"),
        log_level=choice(environ, "LOG_LEVEL", logs.LEVELS, "info"),
        metrics_host=host(environ, "METRICS_HOST", LOOPBACK),
        metrics_port=whole(environ, "METRICS_PORT", 1, 65535) if environ.get("METRICS_PORT") else None,
        connections_max=whole(environ, "CONNECTIONS_MAX", 1, 1_000_000, CONNECTIONS_MAX),
        connections_per_address_max=whole(
            environ, "CONNECTIONS_PER_ADDRESS_MAX", 1, 1_000_000, CONNECTIONS_PER_ADDRESS_MAX
        ),
        trusted_proxies=addresses(environ, "TRUSTED_PROXIES", PROXIES),
    )
