"""Reply addresses and reply topics."""

import json

import pytest

from sidecart.chassis.reply_topics import GATEWAYS_MAX, REQUESTERS, is_requester, readdressed, reply_topic

EVENT = b'{"id":"e-1","data":{"b":1.50,"a":"\\u00e9"},"replyto":"gateway-3","new":[1]}'


def test_each_gateway_that_may_run_is_a_requester() -> None:
    """No other name selects a topic."""
    assert GATEWAYS_MAX == len(REQUESTERS)
    assert all(is_requester(name) for name in REQUESTERS)
    assert not any(is_requester(name) for name in ("", "gateway", f"gateway-{GATEWAYS_MAX}", "gateway-00", "user-0"))


def test_a_reply_topic_names_both_sides() -> None:
    """So each has one publisher and one reader."""
    assert "Replies-gateway-3-shelf" == reply_topic("gateway-3", "shelf")


def test_an_event_with_this_address_stays_as_it_is() -> None:
    """Byte for byte."""
    assert EVENT == readdressed(EVENT, "gateway-3")
    assert b'{"id":"e-1"}' == readdressed(b'{"id":"e-1"}', "")


@pytest.mark.parametrize("reply_to", ["gateway-4", ""])
def test_only_the_address_changes(reply_to: str) -> None:
    """The data keeps its bytes, with numbers as they were."""
    changed = readdressed(EVENT, reply_to)

    assert b'"data":{"b":1.50,"a":"\\u00e9"}' in changed
    expected = {**json.loads(EVENT), "replyto": reply_to}
    assert {name: value for name, value in expected.items() if value} == json.loads(changed)
