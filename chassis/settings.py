"""Settings come from the environment, are read once, and stop the start by name when they are missing or wrong."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chassis import logs

LOOPBACK = "127.0.0.1"


class SettingError(SystemExit):
    """A setting is missing or wrong; the process ends with one line that names it."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"setting {name}: {why}")


def text(environ: Mapping[str, str], name: str, default: str | None = None) -> str:
    """Read a setting that may not be empty."""
    value = environ.get(name) or default
    if not value:
        raise SettingError(name, "is missing (see the table of settings in README.md)")
    return value


def whole(environ: Mapping[str, str], name: str, low: int, high: int, default: int | None = None) -> int:
    """Read a whole number between `low` and `high`, both included."""
    value = text(environ, name, None if default is None else str(default))
    if not (value.isascii() and value.isdigit() and low <= int(value) <= high):
        raise SettingError(name, f"{value!r} is not a whole number from {low} to {high}")
    return int(value)


def choice(environ: Mapping[str, str], name: str, known: Sequence[str], default: str) -> str:
    """Read one of a few words."""
    value = text(environ, name, default)
    if value not in known:
        raise SettingError(name, f"{value!r} is none of {', '.join(known)}")
    return value


@dataclass(frozen=True, slots=True)
class Settings:
    """What every app needs: where it listens, where its sidecar is, and the two tokens."""

    app_host: str
    app_port: int
    dapr_http_port: int
    app_api_token: str
    dapr_api_token: str
    dapr_host: str = LOOPBACK
    log_format: str = "human"
    log_level: str = "info"
    metrics_host: str = LOOPBACK
    metrics_port: int | None = None


def read(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings that every app has."""
    return Settings(
        app_host=text(environ, "APP_HOST", LOOPBACK),
        app_port=whole(environ, "APP_PORT", 1, 65535),
        dapr_http_port=whole(environ, "DAPR_HTTP_PORT", 1, 65535),
        app_api_token=text(environ, "APP_API_TOKEN"),
        dapr_api_token=text(environ, "DAPR_API_TOKEN"),
        dapr_host=text(environ, "DAPR_HOST", LOOPBACK),
        log_format=choice(environ, "LOG_FORMAT", logs.FORMATS, "human"),
        log_level=choice(environ, "LOG_LEVEL", logs.LEVELS, "info"),
        metrics_host=text(environ, "METRICS_HOST", LOOPBACK),
        metrics_port=whole(environ, "METRICS_PORT", 1, 65535) if environ.get("METRICS_PORT") else None,
    )
