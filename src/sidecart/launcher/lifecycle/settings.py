"""Selects the settings of each app from the launcher's environment.

The source is each app's own `read` function. The launcher runs it on the app's future environment
before it starts anything. An app receives the settings that it reads, and a wrong setting stops the
launcher by name.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib.util import find_spec
from typing import Any

from sidecart.chassis import currency
from sidecart.chassis import settings as common
from sidecart.chassis.settings import SettingError
from sidecart.edge.settings import GATEWAYS, read_auth
from sidecart.launcher.apps import module_of
from sidecart.launcher.environment import ENDPOINT
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.monitor import grace_seconds
from sidecart.launcher.permissions import TRIMMER
from sidecart.launcher.project import load, make_importable
from sidecart.launcher.servers import postgres, rabbitmq, valkey
from sidecart.launcher.servers.addresses import check_url, host_and_port, with_login
from sidecart.launcher.servers.valkey_memory import memory_mb
from sidecart.launcher.streams import read_retention
from sidecart.launcher.topics import MONITOR

Environment = Mapping[str, str]

APP_LOGINS = "APP_LOGINS"

SET_BY_LAUNCHER: Mapping[str, str] = {
    "APP_PORT": "each app has its own port; PORT sets the gateway's port",
    "APP_HOST": "the system listens on this machine only",
    "DAPR_HTTP_PORT": "each sidecar has its own port",
    "DAPR_GRPC_PORT": "each sidecar has its own port",
    "DAPR_HOST": "each app's sidecar runs on this machine",
    "APP_API_TOKEN": "the launcher generates new tokens at each start",
    "DAPR_API_TOKEN": "the launcher generates new tokens at each start",
    "POD_NAME": "each gateway has its own name",
    GATEWAYS: "`--gateways` sets the number of gateways",
    "METRICS_PORT": "each app has a free port for its metrics, and `./sidecart status` lists them",
    "METRICS_HOST": "metrics are available on this machine only",
}
"""Maps the app settings that only the launcher sets to the reason.

The launcher refuses them in its environment.
"""


@cache
def readers_of(app_id: str) -> tuple[Callable[[Environment], Any], ...]:
    """Return the functions that read an app's settings.

    Every app reads those of the chassis. An app with further settings has a module `settings`
    beside its own module, with a function `read`. Of a program that is no module of the project,
    the launcher knows the settings of the chassis only.
    """
    if app_id == TRIMMER:
        return (read_retention,)
    if app_id == MONITOR:
        return (grace_seconds, currency.read, read_auth)
    package = module_of(app_id).rpartition(".")[0]
    if not _has_settings(package):
        return (common.read,)
    return (common.read, load(f"{package}.settings:read", f"the settings of {app_id}"))


def _has_settings(package: str) -> bool:
    make_importable()
    try:
        return package != "" and find_spec(f"{package}.settings") is not None
    except ModuleNotFoundError:  # the package itself does not exist
        return False


class _RecordingEnvironment(Mapping[str, str]):
    """An environment that records the names that a reader looks up."""

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
    """Return the environment of an app.

    The launcher's decisions win over configured settings that the app reads, and those win over
    defaults. Raises LaunchError for a missing or wrong setting.
    """
    recorder = _RecordingEnvironment({**(defaults or {}), **configured, **decided})
    try:
        for read in readers_of(app_id):
            read(recorder)
    except SettingError as error:
        raise LaunchError(f"{app_id}: {error}") from None
    return {**(defaults or {}), **{name: configured[name] for name in recorder.names & configured.keys()}, **decided}


def settings_from_environment(environ: Environment = os.environ) -> dict[str, str]:
    """Return the settings in the environment without empty values.

    Raises LaunchError for a setting that only the launcher may set, and for a wrong value.
    """
    for name, why in SET_BY_LAUNCHER.items():
        if environ.get(name):
            raise LaunchError(f"{name} is set in the environment, but the launcher decides it: {why}. Unset it")
    try:
        if environ.get("GOMAXPROCS"):
            common.whole(environ, "GOMAXPROCS", 1, 1024)
        if environ.get("GOGC"):
            common.whole(environ, "GOGC", 1, 10_000)
        memory_mb(environ)
    except SettingError as error:
        raise LaunchError(str(error)) from None
    if environ.get(ENDPOINT):
        check_url(ENDPOINT, environ[ENDPOINT], ("http", "https"))
    return {name: value for name, value in environ.items() if value}


def app_logins(environ: Environment = os.environ) -> bool:
    """Return whether each app has its own login at the external servers.

    Raises LaunchError for a wrong value.
    """
    value = environ.get(APP_LOGINS) or "off"
    if value not in ("on", "off"):
        raise LaunchError(f"{APP_LOGINS}={value} is neither on nor off")
    return value == "on"


def external_servers(environ: Environment = os.environ) -> dict[str, str]:
    """Return the external servers that the environment names, by variable.

    An empty value names none. The address contains the login. Raises LaunchError for an invalid
    address.
    """
    found = {name: environ[name] for name in (valkey.ENV, rabbitmq.ENV, postgres.ENV) if environ.get(name)}
    if valkey.ENV in found:
        host_and_port(valkey.ENV, found[valkey.ENV])
        name, password = (environ.get(each, "") for each in (valkey.USERNAME, valkey.PASSWORD))
        if name and not password:
            raise LaunchError(f"{valkey.USERNAME} needs {valkey.PASSWORD}")
        if password:
            found[valkey.ENV] = with_login(found[valkey.ENV], name, password)
    if rabbitmq.ENV in found:
        check_url(rabbitmq.ENV, found[rabbitmq.ENV], ("amqp", "amqps"))
    # neither `host=...` nor several hosts
    if "://" in (url := found.get(postgres.ENV, "")) and "," not in url:
        check_url(postgres.ENV, url, ("postgres", "postgresql"))
    return found
