"""Tests of the project under simulation: its parts derive from its sources."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import cast

import pytest

from sidecart.chassis.server.inbound import Subscription
from sidecart.chassis.server.serve import ServiceWiring, inbox
from sidecart.chassis.sidecar import Sidecar
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.topics import GATEWAY, read_topics, service_ids
from sidecart.testkit.programs import Program
from sidecart.testkit.simulation.project import Parts, Surroundings, by_convention
from sidecart.testkit.simulation.schedule import CALM, Schedule
from sidecart.testkit.simulation.sidecar import SimulatedSidecar
from tests.simulation.shop import SHOP
from tests.unit.chassis.fakes import FakeSidecar
from tests.unit.chassis.toy_service import JARS
from tests.unit.testkit.simulation.jars import PROJECT


def parts_of(wired: ServiceWiring) -> Parts:
    """Return the parts of a process with this wiring."""
    sidecar = cast(SimulatedSidecar, FakeSidecar())
    return by_convention(Program(JARS, lambda _sidecar: wired)).make_parts(
        Surroundings(sidecar, Schedule(1, CALM), Counter())
    )


def test_every_service_and_every_consumer_is_simulated() -> None:
    """dapr.yaml and contracts/ decide both."""
    consumers = {
        name: {app_id for app_id in topic.consumers if app_id != GATEWAY} for name, topic in read_topics().items()
    }

    assert list(service_ids()) == list(SHOP.apps)
    assert consumers == {name: set(apps) for name, apps in SHOP.consumers.items()}


def test_the_replies_are_those_of_the_declarations() -> None:
    """Each command has its success and its rejection."""
    assert {"CoinPut": {"CoinKept", "CoinRefused"}} == PROJECT.replies


def test_a_subscription_beside_the_inbox_is_handled_by_its_own_function() -> None:
    """The event processor handles the inputs of the declaration only."""
    handled: list[bytes] = []

    async def handle(body: bytes) -> None:
        handled.append(body)

    sidecar = cast(Sidecar, FakeSidecar())
    parts = parts_of(ServiceWiring([*inbox(JARS, sidecar), Subscription("paintbus", "PaintDelivered", handle)]))

    asyncio.run(_awaited(parts, b"red"))

    assert ["PaintDelivered"] == list(parts.handlers)
    assert [b"red"] == handled


async def _awaited(parts: Parts, body: bytes) -> None:
    await parts.handlers["PaintDelivered"](body)


def test_background_work_needs_a_part_of_its_own() -> None:
    """It would wait for the real clock."""

    async def work() -> None:
        """Do nothing."""

    with pytest.raises(LaunchError, match=r"the simulation of jars needs `Parts\.on_timer`"):
        parts_of(ServiceWiring([], background_tasks=lambda _dead_letters: work()))
