"""The command declarations, held against the topic list and against what the gateway reads."""

from cli.topics import GATEWAY, TOPICS
from gateway.app import COMMAND_ROUTES
from gateway.command_declarations import DECLARATIONS
from gateway.replies import RESPONSES


def test_every_held_command_is_a_route() -> None:
    """And every route that changes something is a held call."""
    assert [declaration.path for declaration in DECLARATIONS] == list(COMMAND_ROUTES)


def test_every_command_of_the_gateway_is_a_held_command() -> None:
    """What the topic list has the gateway publish, and nothing else."""
    assert {topic for topic, way in TOPICS.items() if way.publisher == GATEWAY} == {
        declaration.command for declaration in DECLARATIONS
    }


def test_what_answers_a_held_command_is_what_the_gateway_reads() -> None:
    """As the topic list has it, and with a meaning for each."""
    read = {topic for topic, way in TOPICS.items() if GATEWAY in way.consumers}

    assert (
        read
        == {topic for declaration in DECLARATIONS for topic in (declaration.success, declaration.rejection)}
        == set(RESPONSES)
    )


def test_whoever_takes_the_command_answers_it() -> None:
    """The one consumer of a command publishes both of its replies."""
    for declaration in DECLARATIONS:
        assert (
            TOPICS[declaration.command].consumers
            == (TOPICS[declaration.success].publisher,)
            == (TOPICS[declaration.rejection].publisher,)
        )
