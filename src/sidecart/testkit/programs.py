"""The program of each service as tests run it in other surroundings: without a sidecar, without
HTTP.

By convention, the module that dapr.yaml starts defines `SERVICE` and `wire(sidecar)`.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from sidecart.chassis.server.serve import WireService
from sidecart.chassis.service import Service
from sidecart.launcher.apps import module_of
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.project import make_importable
from sidecart.launcher.topics import service_ids


@dataclass(frozen=True, slots=True)
class Program:
    """One service: its declaration, and the function that wires it to a sidecar."""

    service: Service[Any, Any]
    wire: WireService


def read_programs(given: Mapping[str, Program], where: str) -> dict[str, Program]:
    """Return the program of each service, by app-id and in the sequence of dapr.yaml.

    `given` has the services that the convention does not cover, such as one whose `wire` needs
    settings. `where` names the constant that holds it. Raise LaunchError, which names the file and
    the missing line, for a service without a program.
    """
    if unknown := sorted(given.keys() - set(service_ids())):
        raise LaunchError(f"{where} has {', '.join(unknown)}, which dapr.yaml lacks: remove the line")
    return {app_id: given.get(app_id) or read_program(app_id, where) for app_id in service_ids()}


def read_program(app_id: str, where: str) -> Program:
    """Return the program of one service by the convention.

    Raise LaunchError, which names its module and the constant `where`, if the module differs.
    """
    make_importable()
    name = module_of(app_id)
    if not name:
        raise LaunchError(f'{where} lacks a line for "{app_id}": dapr.yaml starts no Python module for it')
    module = import_module(name)
    service, wire = getattr(module, "SERVICE", None), getattr(module, "wire", None)
    if isinstance(service, Service) and callable(wire) and len(inspect.signature(wire).parameters) == 1:
        return Program(service, wire)
    file = f"{name.replace('.', '/')}.py"
    raise LaunchError(f'{file} lacks `SERVICE` or `wire(sidecar)`: add them, or a line for "{app_id}" to {where}')
