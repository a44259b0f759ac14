"""The settings of the gateway, in addition to those of every app."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sidecart.chassis import settings

DRAIN_SECONDS_MAX = 10


@dataclass(frozen=True, slots=True)
class Settings:
    """The name of this replica, and how long it serves after the shutdown signal."""

    pod_name: str
    drain_seconds: int


def read(environ: Mapping[str, str]) -> Settings:
    """Read the settings.

    The launcher does this too, before it starts any process, and passes on the settings that this
    reads.
    """
    return Settings(
        pod_name=settings.text(environ, "POD_NAME", "gateway-0"),
        drain_seconds=settings.whole(environ, "DRAIN_SECONDS", 0, DRAIN_SECONDS_MAX, 0),
    )
