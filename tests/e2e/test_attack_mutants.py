"""Attacks that must be refused, and that must succeed once their control is taken out.

A control that is taken out without an effect would mean that its attack tests nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sidecart.edge.rate_limits import WINDOW_SECONDS
from sidecart.launcher.lifecycle.system import System
from sidecart.launcher.monitor import NAME as MONITOR
from sidecart.launcher.topics import GATEWAY
from sidecart.testkit.tap import Tap
from tests.contracts.validate import http_problems
from tests.e2e import raw
from tests.e2e.attack import Eve, Victim
from tests.e2e.conftest import options
from tests.e2e.controls import CONTROLS, ENV, PER_CALLER, Control
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


@pytest.mark.attack("requests", "a flood beside another caller", "limit of a caller")
def test_a_flood_is_told_when_to_return_and_another_caller_is_served(
    removal: Removal, shopper: Shopper, victim: Victim, eve: Eve
) -> None:
    """The headers say how many requests are left, and the victim reads its order."""
    removal.put_back()
    asked = raw.get(raw.HOST + f"authorization: {eve.headers['authorization']}\r\n".encode(), b"/order/x")
    answers = raw.exchange(removal.shop.ports[GATEWAY], asked * (2 * PER_CALLER) + raw.LAST)[:-1]
    refused = [each for each in answers if each.status == 429]
    served = shopper.http.get(f"/order/{victim.order_id}", headers=shopper.caller(victim.email))

    assert 200 == served.status_code
    assert {404, 429} == {each.status for each in answers}
    assert len(refused) >= PER_CALLER - 1
    for each in refused:
        assert 1 <= int(each.headers["retry-after"]) <= WINDOW_SECONDS
        assert f'"caller";q={PER_CALLER};w={WINDOW_SECONDS}' == each.headers["ratelimit-policy"]
        assert each.headers["ratelimit"].startswith('"caller";r=0;t=')
        assert [] == http_problems("problem", json.loads(each.body))
