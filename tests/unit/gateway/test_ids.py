"""Ids are made before anything is published."""

import time
import uuid

import pytest

from gateway import ids

USER = "0192f0c1-2a3b-7c4d-8e5f-60718293a4b5"


def test_a_uuid7_has_its_version_variant_and_time() -> None:
    """The id sorts by the millisecond in which it was made."""
    before = time.time_ns() // 1_000_000

    made = uuid.UUID(ids.uuid7())

    assert (7, uuid.RFC_4122) == (made.version, made.variant)
    assert before <= made.int >> 80 <= time.time_ns() // 1_000_000


def test_ten_thousand_uuid7_are_ten_thousand_ids() -> None:
    """No two of them are the same."""
    made = {ids.uuid7() for _ in range(10_000)}

    assert 10_000 == len(made)


def test_the_same_key_gives_the_same_resource_and_each_part_of_it_counts() -> None:
    """Route, owner and key each make another id."""
    asked = [("/order/create", "u-1", "k"), ("/order/create", "u-1", "k"), ("/account/deposit", "u-1", "k")]
    asked += [("/order/create", "u-2", "k"), ("/order/create", "u-1", "k2")]

    made = [ids.resource_id(*each) for each in asked]

    assert made[0] == made[1]
    assert 4 == len(set(made))


def test_without_a_key_every_request_is_a_resource_of_its_own() -> None:
    """Two requests alike are two orders."""
    made = [ids.resource_id("/order/create", USER, ids.made_key()) for _ in range(2)]

    assert made[0] != made[1]


def test_a_key_that_we_made_gives_a_uuid7_of_its_time_and_the_same_one_when_it_comes_back() -> None:
    """Ids sort by time, and whoever was told to repeat with this key gets the same resource."""
    before = time.time_ns() // 1_000_000
    key = ids.made_key()
    made = [uuid.UUID(ids.resource_id("/order/create", owner, key)) for owner in (USER, USER, "another")]

    assert (7, uuid.RFC_4122) == (made[0].version, made[0].variant)
    assert before <= made[0].int >> 80 <= time.time_ns() // 1_000_000
    assert made[0] == made[1] != made[2]


def test_the_order_of_fields_makes_no_other_command_but_a_value_does() -> None:
    """The canonical body has sorted keys."""
    one = ids.command_id(USER, {"a": 1, "b": [{"x": "é", "y": 2}]})

    assert one == ids.command_id(USER, {"b": [{"y": 2, "x": "é"}], "a": 1})
    assert one != ids.command_id(USER, {"a": 2, "b": [{"x": "é", "y": 2}]})


def test_the_command_id_is_the_one_that_wire_md_describes() -> None:
    """uuid5 of the resource over the canonical JSON."""
    expected = uuid.uuid5(uuid.UUID(USER), '{"amount_cents":5,"name":"é"}')

    assert str(expected) == ids.command_id(USER, {"name": "é", "amount_cents": 5})


@pytest.mark.parametrize("text", ["", "x", USER.upper(), USER.replace("-", ""), "{" + USER + "}", USER + "0", "🦆"])
def test_only_the_form_that_we_hand_out_is_an_id(text: str) -> None:
    """Other spellings of a UUID are not ids."""
    assert not ids.is_uuid(text)
    assert ids.is_uuid(USER)
