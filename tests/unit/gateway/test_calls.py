"""The held calls, held against the catalogue and against what the gateway reads."""

from cli.catalogue import GATEWAY, TOPICS
from gateway.app import POSTS
from gateway.calls import CALLS
from gateway.replies import MEANINGS


def test_every_held_call_is_a_route() -> None:
    """And every route that changes something is a held call."""
    assert [call.path for call in CALLS] == list(POSTS)


def test_every_command_of_the_gateway_is_a_held_calls() -> None:
    """What the catalogue has the gateway publish, and nothing else."""
    assert {topic for topic, way in TOPICS.items() if way.publisher == GATEWAY} == {call.command for call in CALLS}


def test_what_answers_a_held_call_is_what_the_gateway_reads() -> None:
    """As the catalogue has it, and with a meaning for each."""
    read = {topic for topic, way in TOPICS.items() if GATEWAY in way.consumers}

    assert read == {topic for call in CALLS for topic in (call.made, call.rejected)} == set(MEANINGS)


def test_whoever_takes_the_command_answers_it() -> None:
    """The one consumer of a command publishes both of its replies."""
    for call in CALLS:
        assert TOPICS[call.command].consumers == (TOPICS[call.made].publisher,) == (TOPICS[call.rejected].publisher,)
