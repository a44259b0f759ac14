"""The ids of commands and their resources, and the deadline of a request."""

import asyncio
import time
import uuid

import pytest

from sidecart.edge import command
from sidecart.edge.command import ANSWER_SECONDS, Deadline
from sidecart.edge.queries_api import is_uuid

USER = "0192f0c1-2a3b-7c4d-8e5f-60718293a4b5"

SECRET = b"secret"


def test_a_uuid7_has_its_version_variant_and_time() -> None:
    """The id sorts by the millisecond of its creation."""
    before = time.time_ns() // 1_000_000

    made = uuid.UUID(command.uuid7())

    assert (7, uuid.RFC_4122) == (made.version, made.variant)
    assert before <= made.int >> 80 <= time.time_ns() // 1_000_000


def test_ten_thousand_uuid7_are_distinct() -> None:
    """No two of them are equal."""
    made = {command.uuid7() for _ in range(10_000)}

    assert 10_000 == len(made)


def test_the_same_key_gives_the_same_resource_and_each_part_counts() -> None:
    """Another route, owner or key gives another id."""
    inputs = [("/order/create", "u-1", "k"), ("/order/create", "u-1", "k"), ("/account/deposit", "u-1", "k")]
    inputs += [("/order/create", "u-2", "k"), ("/order/create", "u-1", "k2")]

    made = [command.resource_id(SECRET, *each) for each in inputs]

    assert made[0] == made[1]
    assert 4 == len(set(made))


def test_the_id_needs_the_secret() -> None:
    """Who knows the route, the caller and the key cannot compute the id."""
    use = ("/order/create", "u-1", "k")

    assert command.resource_id(SECRET, *use) != command.resource_id(b"another", *use)
    assert 8 == uuid.UUID(command.resource_id(SECRET, *use)).version


def test_without_a_key_every_request_creates_another_resource() -> None:
    """Two equal requests are two orders."""
    made = [command.resource_id(SECRET, "/order/create", USER, command.made_key()) for _ in range(2)]

    assert made[0] != made[1]


def test_a_generated_key_gives_a_uuid7_of_its_time_and_the_same_one_again() -> None:
    """Ids sort by time, and a repetition with the generated key gives the same resource."""
    before = time.time_ns() // 1_000_000
    key = command.made_key()
    made = [uuid.UUID(command.resource_id(SECRET, "/order/create", owner, key)) for owner in (USER, USER, "another")]

    assert (7, uuid.RFC_4122) == (made[0].version, made[0].variant)
    assert before <= made[0].int >> 80 <= time.time_ns() // 1_000_000
    assert made[0] == made[1] != made[2]


def test_the_command_id_depends_on_values_and_not_on_the_order_of_fields() -> None:
    """The canonical body has sorted keys."""
    one = command.command_id(USER, {"a": 1, "b": [{"x": "é", "y": 2}]})

    assert one == command.command_id(USER, {"b": [{"y": 2, "x": "é"}], "a": 1})
    assert one != command.command_id(USER, {"a": 2, "b": [{"x": "é", "y": 2}]})


def test_the_command_id_is_the_one_that_wire_md_describes() -> None:
    """The id is uuid5 of the resource id and the canonical JSON."""
    expected = uuid.uuid5(uuid.UUID(USER), '{"amount_cents":5,"name":"é"}')

    assert str(expected) == command.command_id(USER, {"name": "é", "amount_cents": 5})


@pytest.mark.parametrize("text", ["", "x", USER.upper(), USER.replace("-", ""), "{" + USER + "}", USER + "0", "🦆"])
def test_only_the_canonical_form_of_a_uuid_is_an_id(text: str) -> None:
    """Other spellings of a UUID are not ids."""
    assert not is_uuid(text)
    assert is_uuid(USER)


def test_a_step_gets_at_most_half_of_the_remaining_time() -> None:
    """After any number of steps the pending command can still be written."""

    async def scenario() -> None:
        deadline = Deadline(0)
        assert 0 == deadline.left
        assert deadline.share(10) <= ANSWER_SECONDS / 2
        assert 0.01 == deadline.share(0.01)
        assert 10 == Deadline(30).share(10)

    asyncio.run(scenario())


def test_the_remaining_time_is_never_negative() -> None:
    """After the deadline a step gets 0 s."""

    async def scenario() -> None:
        deadline = Deadline(-10)
        assert (0, 0, 0) == (deadline.left, deadline.left_to_answer, deadline.share(1))

    asyncio.run(scenario())
