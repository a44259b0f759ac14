"""Which settings of the launcher's own environment reach which app, and which ones the launcher decides.

The source is each app's own `read`: it is run here, on the environment that the app will get, before anything is
started. What it reads is what the app is handed, and what is wrong stops the start by name.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from chassis import settings as common
from chassis.settings import SettingError
from cli.environment import ENDPOINT
from cli.errors import LaunchError
from cli.monitor import grace_seconds
from cli.servers import postgres, rabbitmq, valkey
from cli.servers.addresses import check_url, host_and_port
from cli.topics import APPS, GATEWAY, MONITOR
from gateway import settings as gateway
from services.notification import settings as notification
from services.order import settings as order

Environment = Mapping[str, str]

MAIL_SERVER = "SMTP_URL"

READ: Mapping[str, tuple[Callable[[Environment], Any], ...]] = {
    **dict.fromkeys(APPS, (common.read,)),
    GATEWAY: (common.read, gateway.read),
    "order": (common.read, order.read),
    "notification": (common.read, notification.read),
    MONITOR: (grace_seconds,),
}
"""By app what reads its settings."""

SET_BY_LAUNCHER: Mapping[str, str] = {
    "APP_PORT": "each app has a port of its own; PORT is that of the shop",
    "APP_HOST": "the shop is reached on this machine alone",
    "DAPR_HTTP_PORT": "each sidecar has a port of its own",
    "DAPR_GRPC_PORT": "each sidecar has a port of its own",
    "DAPR_HOST": "each app has its sidecar on this machine",
    "APP_API_TOKEN": "tokens are made new at each start",
    "DAPR_API_TOKEN": "tokens are made new at each start",
    "POD_NAME": "each gateway has a name of its own",
    "METRICS_PORT": "each app has a free port for its metrics, and `./sidecart status` lists them",
    "METRICS_HOST": "metrics are read on this machine alone",
}
"""Settings of the apps that the launcher sets, each with the reason; given ones are refused."""


class _RecordingEnvironment(Mapping[str, str]):
    """An environment that remembers which of its names were asked for."""

    def __init__(self, environ: Environment) -> None:
        self._environ = environ
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.names.add(name)
        return self._environ[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._environ)

    def __len__(self) -> int:
        return len(self._environ)


def environment_of(
    app_id: str, decided: Environment, configured: Environment, defaults: Environment | None = None
) -> dict[str, str]:
    """What an app is told: what the launcher decides, of the given settings those that the app reads, then defaults.

    Raise LaunchError if a setting is missing or wrong.
    """
    recorder = _RecordingEnvironment({**(defaults or {}), **configured, **decided})
    try:
        for read in READ[app_id]:
            read(recorder)
    except SettingError as error:
        raise LaunchError(f"{app_id}: {error}") from None
    return {**(defaults or {}), **{name: configured[name] for name in recorder.names & configured.keys()}, **decided}


def settings_from_environment(environ: Environment = os.environ) -> dict[str, str]:
    """What the environment may say to the apps; raise LaunchError for what the launcher decides, or for what is wrong.

    An empty value is none.
    """
    for name, why in SET_BY_LAUNCHER.items():
        if environ.get(name):
            raise LaunchError(f"{name} is set in the environment, but the launcher decides it: {why}. Unset it")
    try:
        if environ.get("GOMAXPROCS"):
            common.whole(environ, "GOMAXPROCS", 1, 1024)
    except SettingError as error:
        raise LaunchError(str(error)) from None
    if environ.get(ENDPOINT):
        check_url(ENDPOINT, environ[ENDPOINT], ("http", "https"))
    return {name: value for name, value in environ.items() if value}


def external_servers(environ: Environment = os.environ) -> dict[str, str]:
    """The servers that the environment names, by their variables; raise LaunchError for what is no address.

    An empty value names none.
    """
    found = {name: environ[name] for name in (valkey.ENV, rabbitmq.ENV, postgres.ENV) if environ.get(name)}
    if valkey.ENV in found:
        host_and_port(valkey.ENV, found[valkey.ENV])
    if rabbitmq.ENV in found:
        check_url(rabbitmq.ENV, found[rabbitmq.ENV], ("amqp", "amqps"))
    if "://" in (url := found.get(postgres.ENV, "")) and "," not in url:  # neither `host=...` nor several hosts
        check_url(postgres.ENV, url, ("postgres", "postgresql"))
    return found
