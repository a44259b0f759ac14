"""The settings that an app of the baseline reads from its environment."""

from __future__ import annotations

import os
from dataclasses import dataclass

from sidecart.chassis import settings
from sidecart.chassis.settings import LOOPBACK, Settings
from sidecart.launcher.topics import service_ids


@dataclass(frozen=True, slots=True)
class BaselineSettings:
    """The addresses of the broker, of Redis and of the other services."""

    port: int
    broker: str
    broker_url: str
    redis_url: str
    urls: dict[str, str]

    @property
    def served(self) -> Settings:
        """The same settings for the chassis' server; the baseline has no sidecar and no routes to
        guard.
        """
        return Settings(LOOPBACK, self.port, 0, "", "")


def read() -> BaselineSettings:
    """Read the settings; raise SettingError for a missing one."""
    return BaselineSettings(
        port=settings.whole(os.environ, "APP_PORT", 1, 65535),
        broker=settings.text(os.environ, "BROKER"),
        broker_url=settings.text(os.environ, "BROKER_URL"),
        redis_url=settings.text(os.environ, "REDIS_URL"),
        urls={name: settings.text(os.environ, f"{name.upper()}_URL") for name in service_ids()},
    )
