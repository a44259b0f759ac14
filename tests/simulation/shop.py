"""The shop under simulation: its apps that need more than the convention, and its commands."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

from services.order import app as order
from services.order.price_list import PriceList
from services.order.settings import Settings
from sidecart.testkit.programs import Program
from sidecart.testkit.simulation.project import Project, by_convention
from sidecart.testkit.simulation.seeds import Simulation
from tests.simulation.checks import problems
from tests.simulation.mails import NOTIFICATION
from tests.simulation.scenario import SKUS, Scenario, scenario

SETTINGS = Settings(timedelta(minutes=15), PriceList({sku: cents for cents, sku in SKUS.items()}, b"{}"))
APPS = {
    "order": by_convention(
        Program(order.service(SETTINGS.pay_within, SETTINGS.price_list.prices), partial(order.wire, SETTINGS))
    ),
    "notification": NOTIFICATION,
}
"""The services that need settings or a server outside; every other service needs no line here."""

SHOP = Project.read(APPS, "tests/simulation/shop.py: APPS")
SIMULATION: Simulation[Scenario] = Simulation(SHOP, scenario, problems)
