"""The files to check: the project's own, or those that the command line names."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sidecart.doctor import compose_files, run_files
from sidecart.doctor.sidecar_config import SidecarConfig
from sidecart.doctor.starts import Environment, Knowledge, Start, read_env_file
from sidecart.doctor.yaml_files import SUFFIXES, Document, read
from sidecart.launcher import topic_scopes
from sidecart.launcher.apps import resource_folders
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.project import RUN_FILE, root
from sidecart.launcher.servers.registry import BROKERS, ENVIRONMENT, STORES

COMPOSE_FILE = "tye-or-compose/docker-compose.yml"
LAUNCHED = ("POD_NAME", "APP_API_TOKEN", "DAPR_API_TOKEN", *topic_scopes.NAMES, *ENVIRONMENT)
"""The variables that the launcher sets for every sidecar (src/sidecart/launcher/sidecar.py)."""


def own(brokers: Sequence[str] = tuple(BROKERS), stores: Sequence[str] = tuple(STORES)) -> list[SidecarConfig]:
    """The project's run file and compose file, for each broker combined with each store."""
    launched = Environment(dict.fromkeys(LAUNCHED, "set by the launcher"), Knowledge.WHOLE)
    found: list[SidecarConfig] = []
    for broker in brokers:
        for store in stores:
            found += of_file(root() / RUN_FILE, launched, swap=(broker, store))
            found += of_file(root() / COMPOSE_FILE, Environment({"BROKER": broker, "STORE": store}))
    return found


def named(paths: Sequence[Path], environment: Environment) -> list[SidecarConfig]:
    """Configurations of the named paths: run files and compose files are followed.

    All other files count as one sidecar's, as if --resources-path named each folder.
    """
    for path in paths:
        if not path.is_dir() and not path.is_file():
            raise LaunchError(f"{path} is neither a folder nor a file" if path.exists() else f"{path} does not exist")
    content = {file: read(file) for path in paths for file in (_files(path) if path.is_dir() else [path])}
    starting = [file for file, documents in content.items() if any(_is_start(each) for each in documents)]
    found = [config for file in starting for config in of_file(file, environment)]
    followed = {document.file.resolve() for config in found for document in config.documents}
    rest = [file for file in content if file not in starting and file.resolve() not in followed]
    if rest or not found:
        apart = {folder.resolve() for config in found for folder in config.folders} | {file.parent for file in starting}
        folders = tuple(path for path in paths if path.is_dir() and not {path, path.resolve()} & apart)
        documents = tuple(document for file in rest for document in content[file])
        found.append(SidecarConfig(documents, folders, environment=environment))
    return found


def each_apart(paths: Sequence[Path], environment: Environment) -> list[SidecarConfig]:
    """Configurations of the files and folders in these folders, each read on its own."""
    found: list[SidecarConfig] = []
    for path in paths:
        inner = sorted(path.iterdir()) if path.is_dir() else [path]
        for each in inner:
            if each.is_dir() or each.suffix.lower() in SUFFIXES:
                found += named([each], environment)
    if not found:
        raise LaunchError(f"{', '.join(map(str, paths))} contains no YAML")
    return found


def of_file(file: Path, environment: Environment, swap: tuple[str, str] | None = None) -> list[SidecarConfig]:
    """The sidecars that a run file or compose file starts, grouped by the paths that they read."""
    documents = read(file)
    found: list[Start] = []
    for document in documents:
        if run_files.is_run_file(document.root):
            found += run_files.of_run_file(document, environment)
        elif compose_files.is_compose_file(document.root):
            found += compose_files.of_compose_file(document, environment.variables)
    if swap is not None:
        found = [_swapped(start, *swap) for start in found]
    groups: dict[tuple[tuple[Path, ...], tuple[Path, ...]], list[Start]] = {}
    for start in found:
        resources, configs = (tuple(path for path, _ in paths) for paths in (start.resources, start.configs))
        groups.setdefault((resources, configs), []).append(start)
    return [
        SidecarConfig(
            documents=(*_all(resources), *(each for file in configs if file.is_file() for each in read(file))),
            folders=tuple(folder for folder in resources if folder.is_dir()),
            starts=tuple(group),
            sources=tuple(documents),
            app_ids=frozenset(start.app_id for start in found),
        )
        for (resources, configs), group in groups.items()
    ]


def _swapped(start: Start, broker: str, store: str) -> Start:
    folders = resource_folders(tuple(path for path, _ in start.resources), broker, store)
    lines = [line for _, line in start.resources]
    return replace(start, resources=tuple(zip(folders, lines, strict=True)))


def _is_start(document: Document) -> bool:
    return run_files.is_run_file(document.root) or compose_files.is_compose_file(document.root)


def _all(folders: Iterable[Path]) -> list[Document]:
    return [document for folder in folders if folder.is_dir() for file in _files(folder) for document in read(file)]


def _files(folder: Path) -> list[Path]:
    """The YAML files that daprd reads in a folder: one level deep, selected by suffix."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())


@dataclass(frozen=True, slots=True)
class Inspected:
    """The number of files and sidecar configurations checked."""

    files: int
    configs: int


def inspected(configs: Sequence[SidecarConfig]) -> Inspected:
    """Count the files and the configurations; each file counts once."""
    files = {document.file.resolve() for config in configs for document in (*config.documents, *config.sources)}
    return Inspected(len(files), len(configs))


def environment(env_files: Sequence[Path], process: Mapping[str, str] | None = None) -> Environment:
    """The process environment, overridden by files of NAME=value lines."""
    found = dict(os.environ if process is None else process)
    for path in env_files:
        lines = read_env_file(path)
        if lines is None:
            raise LaunchError(f"{path} cannot be read as a file of NAME=value lines")
        found |= lines
    return Environment(found)
