"""Attacks that must be refused, and that must succeed once their control is taken out.

A control that is taken out without an effect would mean that its attack tests nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sidecart.launcher.lifecycle.system import System
from sidecart.launcher.monitor import NAME as MONITOR
from sidecart.testkit.tap import Tap
from tests.e2e.attack import Eve, Victim
from tests.e2e.conftest import options
from tests.e2e.controls import CONTROLS, ENV, Control
from tests.e2e.scene import Removal, Scene
from tests.e2e.shopper import Shopper
from tests.e2e.without import MAIL_CATCHER

pytestmark = [pytest.mark.own_shop, pytest.mark.sidecars]

INTACT = "nothing"
STARTED_BY_ITS_ATTACK = (MONITOR, MAIL_CATCHER)


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Start a shop with small limits, and with a live page."""
    made = options(tmp_path_factory.mktemp("attacked"))
    with System(replace(made, monitor=True, env=dict(ENV)), print) as running:
        yield running


@pytest.fixture(scope="module")
def attacked_tap(attacked: System) -> Iterator[Tap]:
    """Return a tap, which records every event that passes the broker."""
    with Tap(attacked) as running:
        yield running


@pytest.fixture(scope="module")
def removal(attacked: System) -> Removal:
    """Return the control that the shop lacks: none at first."""
    return Removal(attacked)


@pytest.fixture
def shopper(attacked: System, attacked_tap: Tap) -> Iterator[Shopper]:
    """Return a client of the shop."""
    with Shopper(attacked, attacked_tap) as client:
        yield client


@pytest.mark.parametrize(
    "control",
    [pytest.param(each, id=each.name, marks=pytest.mark.attack(*each.words)) for each in CONTROLS],
)
def test_an_attack_is_refused(
    removal: Removal, shopper: Shopper, victim: Victim, eve: Eve, tmp_path: Path, control: Control
) -> None:
    """The shop is complete."""
    removal.put_back()

    assert not control.attack(Scene(shopper, victim, eve, INTACT, tmp_path)), f"it succeeded: {control.name}"


@pytest.mark.parametrize(
    "control",
    [pytest.param(each, id=each.control, marks=pytest.mark.mutant(*each.words)) for each in CONTROLS],
)
def test_without_its_control_an_attack_succeeds(
    removal: Removal, shopper: Shopper, victim: Victim, eve: Eve, tmp_path: Path, control: Control
) -> None:
    """Only this control is taken out."""
    if control.app_id in STARTED_BY_ITS_ATTACK:
        removal.put_back()
    else:
        removal.take_out(control.app_id, control.patch, control.env)

    assert control.attack(Scene(shopper, victim, eve, control.patch, tmp_path)), f"it was refused: {control.name}"
