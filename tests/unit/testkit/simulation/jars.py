"""A project of one service: commands put coins into jars, and each coin counts once."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from sidecart.chassis.server.serve import ServiceWiring, inbox
from sidecart.chassis.sidecar import Sidecar
from sidecart.edge.bodies import Strict
from sidecart.edge.command import build_command
from sidecart.edge.declarations import Application, CommandDeclaration, QueryDeclaration
from sidecart.testkit.programs import Program
from sidecart.testkit.simulation.broker import Command
from sidecart.testkit.simulation.checks import secondary, state
from sidecart.testkit.simulation.project import Project, by_convention
from sidecart.testkit.simulation.schedule import START
from sidecart.testkit.simulation.seeds import Simulation
from sidecart.testkit.simulation.world import World
from tests.unit.chassis.toy_service import JARS

JAR = "a"


class CoinBody(Strict):
    """The body of POST /coins."""

    jar_id: str
    value: int


class CoinView(msgspec.Struct):
    """The 201 response."""

    total: int


APPLICATION = Application(
    title="Jars",
    description="The events of jars.",
    folder=Path(),
    commands=(
        CommandDeclaration(
            path="/coins",
            summary="Put a coin into a jar.",
            body=CoinBody,
            topic="CoinPut",
            resource="coin_id",
            owner="jar_id",
            is_for_any_owner=True,
            location="/coins/{coin_id}",
            success="CoinKept",
            answer=CoinView,
            answer_schema="coin",
            rejection="CoinRefused",
            problems={},
        ),
    ),
    queries=(QueryDeclaration("/coins/{coin_id}", app_id="jars", schema="coin", is_public=True),),
    publishers={"CoinKept": JARS.name, "CoinRefused": JARS.name},
)


def wire(sidecar: Sidecar) -> ServiceWiring:
    """Return the subscriptions of the service."""
    return ServiceWiring(inbox(JARS, sidecar))


@dataclass(frozen=True, slots=True)
class Coins:
    """The commands of one seed, and the values of their coins by id."""

    commands: list[Command]
    values: dict[str, int]


def coins(seed: int) -> Coins:
    """Return several coins for one jar."""
    chance = random.Random(f"coins {seed}")
    values = {str(uuid.UUID(int=chance.getrandbits(128), version=4)): chance.randint(1, 9) for _ in range(5)}
    commands = []
    for coin_id, value in values.items():
        built = build_command("CoinPut", coin_id, "", {"jar_id": JAR, "value": value}, {"coin_id": coin_id}, at=START)
        commands.append(Command("CoinPut", built.id, built.event))
    return Coins(commands, values)


def problems(world: World, expected: Coins) -> Iterator[str]:
    """Yield a line if the jar does not contain each coin once."""
    jar = state(world, "jars", f"jar:{JAR}") or {}
    if jar.get("total") != sum(expected.values.values()):
        yield f"the jar has {jar.get('total')}, should have {sum(expected.values.values())}"
    for coin_id in expected.values:
        if secondary(world, "jars", f"coin:{coin_id}") is None:
            yield f"coin {coin_id} was not kept"


PROJECT = Project({"jars": by_convention(Program(JARS, wire))}, APPLICATION, {"CoinPut": ("jars",)})
SIMULATION: Simulation[Coins] = Simulation(PROJECT, coins, problems)
