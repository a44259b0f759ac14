"""Writes and checks contracts/examples: the events of the scenario, one file each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from sidecart.chassis.service import Service
from sidecart.contracts.scenario import SCENARIO, Run, read_flows, run
from sidecart.launcher.apps import module_of, read_apps
from sidecart.launcher.consistency import application_of
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.project import make_importable
from sidecart.launcher.topics import CONTRACTS, read_topics, service_ids


def run_scenario(folder: Path) -> Run:
    """Run the scenario of the project in `folder`; raise LaunchError, which names what is wrong."""
    make_importable()
    flows = read_flows(folder)
    services = {app_id: _service(app_id) for app_id in service_ids()}
    return run(flows, application_of(read_apps()), read_topics(), services)


def _service(app_id: str) -> Service[Any, Any]:
    """Return the declaration of a service, with its default settings."""
    name = module_of(app_id)
    if not name:
        raise LaunchError(
            f"dapr.yaml: the app {app_id} runs no Python module, so the examples of its events cannot be written: "
            f"write them by hand, or run the scenario with the Python service in its place"
        )
    found = getattr(import_module(name), "SERVICE", None)
    if not isinstance(found, Service):
        raise LaunchError(f"{name.replace('.', '/')}.py lacks `SERVICE`, the declaration with the default settings")
    return found


def contents(made: Run) -> dict[str, str]:
    """Return the text of each example by its path within contracts/."""
    return {each.file: f"{json.dumps(each.event, indent=2, ensure_ascii=False)}\n" for each in made.examples}


def differences(folder: Path, made: Run) -> Iterator[str]:
    """Yield one line for each file of contracts/examples that differs from the scenario."""
    expected = contents(made)
    for file in sorted(expected.keys() | _existing(folder)):
        path = folder / CONTRACTS / file
        if file not in expected:
            yield f"{CONTRACTS}/{file}: no flow of {SCENARIO} leads to this event"
        elif not path.exists():
            yield f"{CONTRACTS}/{file} is missing"
        elif path.read_text(encoding="utf-8") != expected[file]:
            yield f"{CONTRACTS}/{file} differs from the event that the scenario gives"


def write(folder: Path, made: Run) -> list[str]:
    """Write the examples, delete those without a flow, and return the paths that changed."""
    changed = []
    expected = contents(made)
    for file in sorted(_existing(folder) - expected.keys()):
        (folder / CONTRACTS / file).unlink()
        changed.append(f"{CONTRACTS}/{file} (deleted)")
    for file, text in expected.items():
        path = folder / CONTRACTS / file
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            changed.append(f"{CONTRACTS}/{file}")
    return changed


def _existing(folder: Path) -> set[str]:
    contracts = folder / CONTRACTS
    return {str(path.relative_to(contracts)) for path in contracts.glob("examples/*/*.json")}
