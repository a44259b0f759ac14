"""The settings of the gateway, in addition to those of every app."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from sidecart.chassis import settings
from sidecart.chassis.server.request_head import LOOPBACK_HOSTS

DRAIN_SECONDS_MAX = 10
ORIGIN = re.compile(r"https?://(?:[a-z0-9_.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one gateway."""

    pod_name: str
    """The name of this replica."""
    drain_seconds: int
    """How long the gateway serves after the shutdown signal."""
    allowed_hosts: frozenset[str]
    """The names in the Host header of a request, in lower case and without a port."""
    cors_origins: tuple[str, ...]
    """The origins of the web pages that may call the gateway from a browser."""


def read(environ: Mapping[str, str]) -> Settings:
    """Read the settings.

    The launcher does this too, before it starts any process, and passes on the settings that this
    reads.
    """
    return Settings(
        pod_name=settings.text(environ, "POD_NAME", "gateway-0"),
        drain_seconds=settings.whole(environ, "DRAIN_SECONDS", 0, DRAIN_SECONDS_MAX, 0),
        allowed_hosts=_hosts(environ),
        cors_origins=_origins(environ),
    )


def _hosts(environ: Mapping[str, str]) -> frozenset[str]:
    name = "ALLOWED_HOSTS"
    hosts = _words(environ.get(name, ""))
    # The launcher and the live page use these names, and no foreign name is equal to one of them.
    return frozenset({*LOOPBACK_HOSTS, *(settings.in_url(settings.host({name: each}, name)).lower() for each in hosts)})


def _origins(environ: Mapping[str, str]) -> tuple[str, ...]:
    name = "CORS_ORIGINS"
    origins = _words(environ.get(name, "").lower())
    for origin in origins:
        if not ORIGIN.fullmatch(origin):
            raise settings.SettingError(name, f"{origin!r} is not an origin such as https://web.example")
        if re.fullmatch(r"http:.*:80|https:.*:443", origin):
            raise settings.SettingError(name, f"{origin!r}: browsers leave out the default port")
    return tuple(origins)


def _words(value: str) -> list[str]:
    """Return the words of a comma-separated list."""
    return [word for each in value.split(",") if (word := each.strip())]
