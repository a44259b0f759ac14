"""Tests of the programs of services: by convention, or given by the project."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from sidecart.chassis.sidecar import Sidecar
from sidecart.launcher.errors import LaunchError
from sidecart.testkit import programs
from sidecart.testkit.programs import Program, read_programs
from tests.unit.chassis.fakes import FakeSidecar

WHERE = "tests/here.py: APPS"
LAMP = """
from sidecart.chassis.server.serve import ServiceWiring, inbox
from tests.unit.chassis.toy_service import JARS as SERVICE

def wire(sidecar):
    return ServiceWiring(inbox(SERVICE, sidecar))
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file of a new service `lamp`, the only one of the project."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(programs, "service_ids", lambda: ("lamp",))
    monkeypatch.setattr(programs, "module_of", lambda app_id: f"{tmp_path.name}_{app_id}")
    return tmp_path / f"{tmp_path.name}_lamp.py"


def test_a_new_service_needs_no_line(module: Path) -> None:
    """Its module has `SERVICE` and `wire(sidecar)`."""
    module.write_text(LAMP)

    found = read_programs({}, WHERE)

    assert ["lamp"] == list(found)
    subscriptions = found["lamp"].wire(cast(Sidecar, FakeSidecar())).subscriptions
    assert set(found["lamp"].service.inputs) == {each.topic for each in subscriptions}


@pytest.mark.parametrize(
    "text", [LAMP.replace("as SERVICE", "").replace("SERVICE", "JARS"), LAMP.replace("sidecar)", "settings, sidecar)")]
)
def test_a_service_without_the_convention_is_named_with_the_missing_line(module: Path, text: str) -> None:
    """The message names the module and the constant that can replace the convention."""
    module.write_text(text)

    with pytest.raises(LaunchError) as caught:
        read_programs({}, WHERE)

    assert f'{module.name} lacks `SERVICE` or `wire(sidecar)`: add them, or a line for "lamp" to {WHERE}' == str(
        caught.value
    )


def test_an_app_in_another_language_needs_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """dapr.yaml starts no module for it."""
    monkeypatch.setattr(programs, "service_ids", lambda: ("lamp",))
    monkeypatch.setattr(programs, "module_of", lambda app_id: "")

    with pytest.raises(LaunchError, match=f'^{WHERE} lacks a line for "lamp": '):
        read_programs({}, WHERE)


def test_a_line_for_a_removed_service_is_named(module: Path) -> None:
    """A constant of the project cannot keep an app that dapr.yaml no longer has."""
    with pytest.raises(LaunchError, match=f"^{WHERE} has candle, which dapr.yaml lacks"):
        read_programs({"candle": cast(Program, None)}, WHERE)
