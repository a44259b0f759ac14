"""Tests of the invariants of any project: each planted defect is found."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from sidecart.testkit.simulation.checks import problems
from sidecart.testkit.simulation.world import World
from tests.unit.testkit.simulation.jars import SIMULATION


@pytest.fixture
def world() -> World:
    """Return a correct world at rest."""
    return SIMULATION.world(1)[0]


def test_a_correct_world_has_no_problem(world: World) -> None:
    """The other tests of this module plant one defect each."""
    assert [] == list(problems(world))


def test_a_command_without_a_reply_is_found(world: World) -> None:
    """Each command has one kind of reply."""
    world.commands[0].replies.clear()

    (found,) = problems(world)

    assert f"CoinPut {world.commands[0].id} was answered []" == found


def test_a_pending_command_that_an_erasure_ends_needs_no_reply(world: World) -> None:
    """The gateway has accepted it, and removes its pending record with the user's data."""
    command = world.commands[0]
    command.replies.clear()
    command.may_change = True

    assert [f"CoinPut {command.id} was answered []"] == list(problems(world))
    command.is_accepted = True
    assert [] == list(problems(world))


def test_two_replies_to_one_command_are_found(world: World) -> None:
    """A command is either carried out or rejected."""
    world.commands[0].replies.add("CoinRefused")

    (found,) = problems(world)

    assert found.endswith("was answered ['CoinKept', 'CoinRefused']")


def test_two_events_with_one_id_are_found(world: World) -> None:
    """A repeated event has the same content."""
    first = world.published["CoinKept"][0]
    world.published["CoinKept"].append({**first, "data": {}})

    (found,) = problems(world)

    assert found.startswith("one id, two events: ")


def test_a_dead_letter_is_found(world: World) -> None:
    """Whether the processor rejected the event or a service stored the dead letter."""
    world.dead_letters.append("CoinPut: malformed")
    world.stores["jars"]["dead:1"] = (b"{}", 1)

    assert ["dead letter: CoinPut: malformed", "dead letter: dead:1"] == list(problems(world))


def test_a_secondary_record_that_was_never_written_is_found(world: World) -> None:
    """An entry of an outbox names its secondary records."""
    record: dict[str, Any] = {"state": {}, "outbox": {"e-1": {"secondaries": {"coin:x": {}}}}}
    world.stores["jars"]["jar:b"] = (msgspec.json.encode(record), 1)

    assert ["jars jar:b: coin:x of e-1 was never written"] == list(problems(world))
