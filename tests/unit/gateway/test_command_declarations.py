"""The command declarations match the routes, the topic list and the handled replies."""

from gateway.app import COMMAND_ROUTES
from gateway.command_declarations import DECLARATIONS
from gateway.replies import RESPONSES
from sidecart.launcher.topics import GATEWAY, read_topics


def test_every_command_declaration_is_a_route() -> None:
    """Every POST route has a command declaration, and the reverse."""
    assert [declaration.path for declaration in DECLARATIONS] == list(COMMAND_ROUTES)


def test_every_command_of_the_gateway_is_declared() -> None:
    """The gateway publishes the declared commands, and nothing else."""
    assert {topic for topic, way in read_topics().items() if way.publisher == GATEWAY} == {
        declaration.command for declaration in DECLARATIONS
    }


def test_the_gateway_subscribes_to_exactly_the_replies() -> None:
    """The topic list agrees, and each reply has a response."""
    consumed = {topic for topic, way in read_topics().items() if GATEWAY in way.consumers}

    assert (
        consumed
        == {topic for declaration in DECLARATIONS for topic in (declaration.success, declaration.rejection)}
        == set(RESPONSES)
    )


def test_the_consumer_of_a_command_answers_it() -> None:
    """The only consumer of a command publishes both of its replies."""
    for declaration in DECLARATIONS:
        assert (
            read_topics()[declaration.command].consumers
            == (read_topics()[declaration.success].publisher,)
            == (read_topics()[declaration.rejection].publisher,)
        )
