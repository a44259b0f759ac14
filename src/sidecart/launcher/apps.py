"""The apps in the project's dapr.yaml."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import msgspec
import yaml

from sidecart.launcher.documents import convert, read_yaml, shown
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.project import RUN_FILE, root

SWAPPED = ("brokers", "stores")
"""The folders below components/ of which each start selects one subfolder."""


@dataclass(frozen=True, slots=True)
class App:
    """One app of dapr.yaml: its program, and the settings of its sidecar."""

    app_id: str
    folder: Path
    command: tuple[str, ...]
    env: Mapping[str, str]
    log_level: str
    config: Path
    resources: tuple[Path, ...]


def read_apps(path: Path | None = None) -> dict[str, App]:
    """Read a Multi-App Run file, with `common` as defaults and paths relative to the file.

    The default is the project's. Raise LaunchError if it cannot be read.
    """
    path = path or root() / RUN_FILE
    document = convert(read_yaml(path), _RunFile, str(shown(path)))
    apps: dict[str, App] = {}
    taken: dict[int, str] = {}
    for number, listed in enumerate(document.apps, start=1):
        place = f"{shown(path)}: app {listed.get('appID') or number}"
        entry = convert(document.common | listed, _Entry, place)
        if entry.app_id in apps:
            raise LaunchError(f"{place} occurs twice")
        for key, port in (("appPort", entry.app_port), ("daprHTTPPort", entry.dapr_http_port)):
            if port in taken:
                raise LaunchError(f"{place}: the {key} {port} is also a port of {taken[port]}")
            taken[port] = entry.app_id
        apps[entry.app_id] = _app(entry, path.parent)
    return apps


class _RunFile(msgspec.Struct):
    common: dict[str, Any]
    apps: list[dict[str, Any]]


class _Entry(msgspec.Struct, rename="camel", kw_only=True):
    app_id: str = msgspec.field(name="appID")
    app_dir_path: str
    app_port: int
    """Of `dapr run`, as the next one; the launcher takes free ports."""
    dapr_http_port: int = msgspec.field(name="daprHTTPPort")
    command: Annotated[list[str], msgspec.Meta(min_length=1)]
    log_level: str
    config_file_path: str
    resources_paths: list[str]
    env: dict[str, str | int | float | bool] = {}


def _app(entry: _Entry, base: Path) -> App:
    return App(
        app_id=entry.app_id,
        folder=(base / entry.app_dir_path).resolve(),
        command=_with_this_python(entry.command),
        env={name: str(value) for name, value in entry.env.items()},
        log_level=entry.log_level,
        config=(base / entry.config_file_path).resolve(),
        resources=tuple((base / folder).resolve() for folder in entry.resources_paths),
    )


def replaced(ours: App, folder: Path) -> App:
    """Return our app with the program that the run file in `folder` starts under the same app-id.

    The sidecar's settings stay ours. Raises LaunchError if the folder has no such program.
    """
    file = folder / RUN_FILE
    try:
        entries = yaml.safe_load(file.read_text(encoding="utf-8"))["apps"]
        found = {str(entry["appID"]): entry for entry in entries}
        entry = found[ours.app_id]
        command, env = [str(word) for word in entry["command"]], dict(entry.get("env", {}))
    except OSError as error:
        raise LaunchError(f"{file} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, LookupError, TypeError) as error:
        raise LaunchError(f"{file} is not a run file of an app `{ours.app_id}` with a command") from error
    return replace(
        ours,
        folder=(folder / entry.get("appDirPath", ".")).resolve(),
        command=tuple(command),
        env={name: str(value) for name, value in env.items()},
    )


def apps_with(replaced_by: Mapping[str, Path]) -> dict[str, App]:
    """Return the apps of dapr.yaml, with replacements from other folders.

    Raise LaunchError for an unknown app or an unusable folder.
    """
    apps = read_apps()
    for app_id, folder in replaced_by.items():
        if app_id not in apps:
            raise LaunchError(f"there is no app {app_id}: choose from {', '.join(apps)}")
        apps[app_id] = replaced(apps[app_id], folder)
    return apps


def write_program(folder: Path, app_id: str, command: Sequence[str]) -> Path:
    """Write the run file of a program that `replaced` can read; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    run_file = {"version": 1, "apps": [{"appID": app_id, "appDirPath": str(root()), "command": list(command)}]}
    (folder / RUN_FILE).write_text(yaml.safe_dump(run_file), encoding="utf-8")
    return folder


def module_of(app_id: str) -> str:
    """Return the module of our program for an app: the word after `-m` in its command.

    It is empty if the program is no Python module.
    """
    words = [*read_apps()[app_id].command]
    return words[words.index("-m") + 1] if "-m" in words[:-1] else ""


def _with_this_python(command: list[str]) -> tuple[str, ...]:
    # dapr.yaml names the virtual environment's python for the official CLI. The launcher already
    # runs in that environment.
    if Path(command[0]).name.startswith("python"):
        return (sys.executable, *command[1:])
    return tuple(command)


def resource_folders(resources: tuple[Path, ...], broker: str, store: str) -> tuple[Path, ...]:
    """Return the folders of dapr.yaml with the selected broker and store."""
    swap = dict(zip(SWAPPED, (broker, store), strict=True))
    return tuple(
        folder.parent / swap[folder.parent.name] if folder.parent.name in swap else folder for folder in resources
    )


def with_components(resources: tuple[Path, ...], folder: Path) -> tuple[Path, ...]:
    """Return the folders of dapr.yaml with one folder in place of broker and store.

    It is the last one, so that its resiliency policies override those of the project.
    """
    return (*(each for each in resources if each.parent.name not in SWAPPED), folder)
