"""Where the project's files are, and what dapr.yaml says about the shop."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".sidecart"
"""Data, logs and run file of the shop that `run` starts."""


@dataclass(frozen=True, slots=True)
class App:
    """One app of dapr.yaml: how it is started and what its sidecar is told."""

    app_id: str
    folder: Path
    command: tuple[str, ...]
    env: Mapping[str, str]
    health_path: str
    health_interval_seconds: int
    health_timeout_ms: int
    health_threshold: int
    log_level: str
    config: Path
    resources: tuple[Path, ...]


def read_apps(path: Path = ROOT / "dapr.yaml") -> dict[str, App]:
    """Read the Multi-App Run file: `common` under each app's own values, paths relative to the file."""
    document: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {entry["appID"]: _app(document["common"] | entry, path.parent) for entry in document["apps"]}


def _app(entry: dict[str, Any], base: Path) -> App:
    return App(
        app_id=entry["appID"],
        folder=(base / entry["appDirPath"]).resolve(),
        command=_with_this_python(entry["command"]),
        env={name: str(value) for name, value in entry.get("env", {}).items()},
        health_path=entry["appHealthCheckPath"],
        health_interval_seconds=entry["appHealthProbeInterval"],
        health_timeout_ms=entry["appHealthProbeTimeout"],
        health_threshold=entry["appHealthThreshold"],
        log_level=entry["logLevel"],
        config=(base / entry["configFilePath"]).resolve(),
        resources=tuple((base / folder).resolve() for folder in entry["resourcesPaths"]),
    )


def _with_this_python(command: list[str]) -> tuple[str, ...]:
    # dapr.yaml names the environment's python for the official CLI; the launcher already runs in it.
    if Path(command[0]).name.startswith("python"):
        return (sys.executable, *command[1:])
    return tuple(command)


def resource_folders(resources: tuple[Path, ...], broker: str, store: str) -> tuple[Path, ...]:
    """The folders of dapr.yaml with its broker and its store swapped for these."""
    swap = {"brokers": broker, "stores": store}
    return tuple(
        folder.parent / swap[folder.parent.name] if folder.parent.name in swap else folder for folder in resources
    )
