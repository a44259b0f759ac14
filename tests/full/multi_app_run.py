"""The Dapr CLI's interpretation of a Multi-App Run file: keys, flags, environments.

It follows the CLI's source (v1.16.5): pkg/runfileconfig/run_file_config.go,
pkg/runfileconfig/run_file_config_parser.go, pkg/standalone/run.go. test_dapr_run.py compares it
with the processes of the CLI.
"""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

SHARED: dict[str, tuple[type, str | None]] = {
    "configFilePath": (str, "config"),
    "appProtocol": (str, "app-protocol"),
    "apiListenAddresses": (str, "dapr-listen-addresses"),
    "enableProfiling": (bool, "enable-profiling"),
    "logLevel": (str, "log-level"),
    "appMaxConcurrency": (int, "app-max-concurrency"),
    "placementHostAddress": (str, "placement-host-address"),
    "resourcesPath": (str, None),
    "resourcesPaths": (list, "resources-path"),
    "appSSL": (bool, "app-ssl"),
    "maxBodySize": (str, "max-body-size"),
    "readBufferSize": (str, "read-buffer-size"),
    "enableAppHealthCheck": (bool, "enable-app-health-check"),
    "appHealthCheckPath": (str, "app-health-check-path"),
    "appHealthProbeInterval": (int, "app-health-probe-interval"),
    "appHealthProbeTimeout": (int, "app-health-probe-timeout"),
    "appHealthThreshold": (int, "app-health-threshold"),
    "enableApiLogging": (bool, "enable-api-logging"),
    "runtimePath": (str, None),
    "env": (dict, None),
    "daprdLogDestination": (str, None),
    "appLogDestination": (str, None),
    "schedulerHostAddress": (str, "scheduler-host-address"),
}
"""SharedRunConfig: the type of each key and the sidecar's flag for it; valid in `common` and in
each app.
"""

OWN: dict[str, tuple[type, str | None]] = {
    "appID": (str, "app-id"),
    "appChannelAddress": (str, "app-channel-address"),
    "appPort": (int, "app-port"),
    "daprHTTPPort": (int, "dapr-http-port"),
    "daprGRPCPort": (int, "dapr-grpc-port"),
    "profilePort": (int, "profile-port"),
    "command": (list, None),
    "metricsPort": (int, "metrics-port"),
    "unixDomainSocket": (str, "unix-domain-socket"),
    "daprInternalGRPCPort": (int, "dapr-internal-grpc-port"),
    "appDirPath": (str, None),
    "containerImage": (str, None),
    "containerImagePullPolicy": (str, None),
    "createService": (bool, None),
}
"""RunConfig: the additional keys of an app."""

TOP: dict[str, type] = {"version": int, "common": dict, "apps": list, "name": str}
DEFAULTS: dict[str, Any] = {
    "appProtocol": "http",
    "appMaxConcurrency": -1,
    "maxBodySize": "4Mi",
    "readBufferSize": "4Ki",
    "profilePort": -1,
    # The addresses of a full `dapr init`. After `dapr init --slim` no process listens there, and
    # the shop needs none.
    "placementHostAddress": "localhost:50005",
    "schedulerHostAddress": "localhost:50006",
}
FREE_PORTS = ("daprGRPCPort", "metricsPort", "daprInternalGRPCPort")
"""Ports that the CLI chooses when the file does not set them."""

APP_ENV = {
    "APP_ID": "appID",
    "APP_CHANNEL_ADDRESS": "appChannelAddress",
    "APP_PORT": "appPort",
    "DAPR_HTTP_PORT": "daprHTTPPort",
    "DAPR_GRPC_PORT": "daprGRPCPort",
    "DAPR_METRICS_PORT": "metricsPort",
    "APP_PROTOCOL": "appProtocol",
}


@dataclass(frozen=True, slots=True)
class Started:
    """One app as the CLI starts it. The sidecar gets the CLI's own environment, without the file's
    `env`.
    """

    app_id: str
    flags: list[str]
    command: list[str]
    folder: Path
    env: dict[str, str]


def problems(document: dict[str, Any]) -> list[str]:
    """Return the unknown keys, the mistyped values and the missing keys.

    The CLI's YAML reader silently ignores unknown keys.
    """
    found = _wrong("", document, TOP)
    types = {name: kind for name, (kind, _) in SHARED.items()}
    found += _wrong("common.", document.get("common", {}), types)
    own = types | {name: kind for name, (kind, _) in OWN.items()}
    for app in document.get("apps", []):
        found += _wrong(f"apps.{app.get('appID')}.", app, own)
        found += [
            f"apps.{app.get('appID')}: no {name}" for name in ("appID", "appDirPath", "command") if name not in app
        ]
    return found


def _wrong(where: str, part: Mapping[str, Any], known: Mapping[str, type]) -> list[str]:
    unknown = [f"{where}{name} is unknown" for name in part if name not in known]
    mistyped = [
        f"{where}{name} must be {known[name].__name__}"
        for name, value in part.items()
        if name in known and type(value) is not known[name]
    ]
    return unknown + mistyped


def apps(file: Path, environment: Mapping[str, str], free_port: Callable[[], int]) -> list[Started]:
    """Return the apps that `dapr run -f` starts with this environment, in the order of the file."""
    document = yaml.safe_load(file.read_text(encoding="utf-8"))
    return [_app(document["common"] | entry, file.parent, environment, free_port) for entry in document["apps"]]


def _app(output: dict[str, Any], base: Path, environment: Mapping[str, str], free_port: Callable[[], int]) -> Started:
    values = DEFAULTS | output
    values |= {name: values.get(name) or free_port() for name in FREE_PORTS}
    for name in ("configFilePath", "appDirPath"):
        values[name] = str((base / values[name]).absolute())
    values["resourcesPaths"] = [str((base / path).absolute()) for path in values["resourcesPaths"]]
    flags: list[str] = []
    for name, (_, flag) in (SHARED | OWN).items():
        value = values.get(name)
        if flag is None or value in (None, "", False):
            continue
        if value is True:
            flags.append(f"--{flag}")
        else:
            flags += [
                word for each in (value if isinstance(value, list) else [value]) for word in (f"--{flag}", str(each))
            ]
    env = {name: str(values.get(key, "")) for name, key in APP_ENV.items()}
    env |= {name: str(value) for name, value in values.get("env", {}).items()}
    return Started(values["appID"], flags, values["command"], Path(values["appDirPath"]), {**environment, **env})


def flags(words: list[str]) -> dict[str, list[str]]:
    """Return each flag of a command with its values."""
    found: dict[str, list[str]] = {}
    for word, following in itertools.zip_longest(words, words[1:], fillvalue="--"):
        if word.startswith("--"):
            found.setdefault(word, []).append("" if following.startswith("--") else following)
    return found


def sourced(command: str, folder: Path, base: Mapping[str, str]) -> dict[str, str]:
    """Return the environment after running a line of shell in a folder."""
    done = subprocess.run(
        ["sh", "-c", f"{command} env -0"], cwd=folder, env=dict(base), capture_output=True, text=True, check=True
    )
    return dict(each.split("=", 1) for each in done.stdout.split("\0") if each)
