"""What an app of the baseline is told by its environment."""

from __future__ import annotations

import os
from dataclasses import dataclass

from chassis import settings
from chassis.settings import LOOPBACK, Settings
from cli.topics import SERVICES


@dataclass(frozen=True, slots=True)
class BaselineSettings:
    """Where everything is."""

    port: int
    broker: str
    broker_url: str
    redis_url: str
    urls: dict[str, str]

    @property
    def served(self) -> Settings:
        """As our own way of serving wants them; the baseline has no sidecar to know of, and no routes to guard."""
        return Settings(LOOPBACK, self.port, 0, "", "")


def read() -> BaselineSettings:
    """Read the settings; raise SettingError for one that is missing."""
    return BaselineSettings(
        port=settings.whole(os.environ, "APP_PORT", 1, 65535),
        broker=settings.text(os.environ, "BROKER"),
        broker_url=settings.text(os.environ, "BROKER_URL"),
        redis_url=settings.text(os.environ, "REDIS_URL"),
        urls={name: settings.text(os.environ, f"{name.upper()}_URL") for name in SERVICES},
    )
