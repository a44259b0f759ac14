"""The shop's declarations agree with the topic list."""

from gateway.app import SHOP
from sidecart.launcher.topics import GATEWAY, read_topics, service_ids


def test_every_command_of_the_gateway_is_declared() -> None:
    """The gateway publishes the declared commands, and nothing else."""
    published = {topic for topic, way in read_topics().items() if way.publisher == GATEWAY}

    assert {command.topic for command in SHOP.all_commands} == published


def test_the_gateway_consumes_exactly_the_replies() -> None:
    """The topic list agrees."""
    assert {topic for topic, way in read_topics().items() if GATEWAY in way.consumers} == set(SHOP.command_of_reply)


def test_every_gateway_reads_the_replies_that_erase() -> None:
    """contracts/topics.json broadcasts them, and no other reply."""
    broadcast = {topic for topic, way in read_topics().items() if way.broadcast}

    assert {erasure.success for erasure in SHOP.erasures} == broadcast


def test_the_consumer_of_a_command_answers_it() -> None:
    """The only consumer of a command publishes all of its replies."""
    for command in SHOP.all_commands:
        consumers = read_topics()[command.topic].consumers
        assert [consumers] * len(command.replies) == [(read_topics()[each].publisher,) for each in command.replies]


def test_the_gateway_calls_all_services() -> None:
    """It is ready when each of them was."""
    assert set(service_ids()) == set(SHOP.services)
