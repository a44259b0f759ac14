"""Tests of the simulation on a project of one service: faults are survived, mutants are found."""

from __future__ import annotations

import pytest

from sidecart.testkit.simulation.mutants import MUTANTS
from sidecart.testkit.simulation.schedule import CALM
from sidecart.testkit.simulation.world import Setup
from tests.unit.testkit.simulation.jars import SIMULATION

SEEDS = range(100)


def test_the_complete_project_survives_all_faults() -> None:
    """Each coin counts once, whatever the schedule."""
    assert [] == list(SIMULATION.failures(Setup(), SEEDS))


@pytest.mark.parametrize("name", ["no ETag", "no outbox", "an unfinished save is cached"])
def test_a_missing_safeguard_is_found(name: str) -> None:
    """A mutant fails with some seed, and the same seed finds nothing in the complete project."""
    failure = next(SIMULATION.failures(MUTANTS[name], SEEDS), None)

    assert failure is not None
    assert [] == SIMULATION.found(failure[0])


def test_a_calm_world_makes_no_repeats() -> None:
    """Without faults each command is sent once."""
    world, expected = SIMULATION.world(1, Setup(CALM, replicas=1))

    assert [1] * len(expected.commands) == [each.attempts for each in world.commands]
    assert len(expected.commands) == len(world.published["CoinKept"])


def test_the_seed_decides_the_world() -> None:
    """Two runs of a seed are equal, and another seed differs."""
    one, same, other = (SIMULATION.world(seed)[0] for seed in (3, 3, 4))

    assert (one.stores, one.published) == (same.stores, same.published)
    assert one.published != other.published
