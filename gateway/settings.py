"""The settings that only the gateway has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from chassis import settings

DRAIN_SECONDS_MAX = 10


@dataclass(frozen=True, slots=True)
class Settings:
    """Which replica this is, and how long it serves on after it was told to stop."""

    pod_name: str
    drain_seconds: int


def read(environ: Mapping[str, str]) -> Settings:
    """Read them; the launcher does so too, before it starts anything, and hands on what is read here."""
    return Settings(
        pod_name=settings.text(environ, "POD_NAME", "gateway-0"),
        drain_seconds=settings.whole(environ, "DRAIN_SECONDS", 0, DRAIN_SECONDS_MAX, 0),
    )
