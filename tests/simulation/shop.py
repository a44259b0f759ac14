"""The shop under simulation: its apps that need more than the convention, and its commands."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

from services.order import app as order
from sidecart.testkit.programs import Program
from sidecart.testkit.simulation.project import Project, by_convention
from sidecart.testkit.simulation.seeds import Simulation
from tests.simulation.checks import problems
from tests.simulation.mails import NOTIFICATION
from tests.simulation.scenario import Scenario, scenario

PAY_WITHIN = timedelta(minutes=15)
APPS = {
    "order": by_convention(Program(order.service(PAY_WITHIN), partial(order.wire, PAY_WITHIN))),
    "notification": NOTIFICATION,
}
"""The services that need settings or a server outside; every other service needs no line here."""

SHOP = Project.read(APPS, "tests/simulation/shop.py: APPS")
SIMULATION: Simulation[Scenario] = Simulation(SHOP, scenario, problems)
