"""Reads what the project's Python services declare: the events in events.py, the reads in app.py.

An app in another language has no such modules. Its declarations are in contracts/ alone.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import get_args

from sidecart.launcher.apps import App
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.topics import GATEWAY


@dataclass(frozen=True, slots=True)
class ServiceCode:
    """The declarations of one service, and its folder for messages."""

    folder: str
    inputs: frozenset[str]
    """The topics in `INPUTS`."""
    outputs: frozenset[str]
    """The topics in the union `Output`; empty if the module does not define it."""
    reads: frozenset[str] | None
    """The paths of `Read`; None if the module computes one of them."""


def read_services(apps: Mapping[str, App]) -> dict[str, ServiceCode]:
    """Return the declarations of each Python service by app-id."""
    found = {}
    for app_id, app in apps.items():
        module = module_run_by(app) or ""
        package = module.rpartition(".")[0]
        if app_id != GATEWAY and package and exists(f"{package}.events"):
            events = imported(f"{package}.events")
            found[app_id] = ServiceCode(
                folder=package.replace(".", "/"),
                inputs=frozenset(getattr(events, "INPUTS", ())),
                outputs=_names(events.Output) if hasattr(events, "Output") else frozenset(),
                reads=_reads(module),
            )
    return found


def module_run_by(app: App) -> str | None:
    """Return the Python module that an app runs, if it runs one."""
    command = list(app.command)
    return command[command.index("-m") + 1] if "-m" in command[:-1] else None


def imported(module: str) -> ModuleType:
    """Import a module of the project; raise LaunchError with the error that it raises."""
    try:
        return import_module(module)
    except Exception as error:
        raise LaunchError(f"{_file(module)} cannot be imported: {type(error).__name__}: {error}") from error


def _file(module: str) -> str:
    return f"{module.replace('.', '/')}.py"


def exists(module: str) -> bool:
    """Return whether the project contains a module."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def without_names(path: str) -> str:
    """Return a path without the names of its parameters, which each side chooses."""
    return re.sub(r"\{\w+\}", "{}", path)


def _names(union: object) -> frozenset[str]:
    """Return the names of the classes in a union; a union of one class is the class itself."""
    return frozenset(each.__name__ for each in get_args(union) or (union,))


def _reads(module: str) -> frozenset[str] | None:
    """Return the paths of a module's `Read(path, ...)` calls.

    The calls run only in a started service, with its sidecar. So the source is parsed instead.
    """
    spec = find_spec(module) if exists(module) else None
    if spec is None or spec.origin is None:
        return None
    try:
        tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    except SyntaxError as error:
        raise LaunchError(f"{_file(module)}, line {error.lineno}: {error.msg}") from error
    paths = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "Read":
            match node.args:
                case [ast.Constant(value=str(path)), *_]:
                    paths.add(path)
                case _:
                    return None
    return frozenset(paths)
