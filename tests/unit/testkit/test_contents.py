"""The names of a broker's queues are split into consumer and topic."""

import pytest

from sidecart.testkit.contents import consumer_and_topic


@pytest.mark.parametrize(
    ("queue", "expected"),
    [
        ("order-OrderPaymentCreated", ("order", "OrderPaymentCreated")),
        ("gateway-0-OrderCreated", ("gateway-0", "OrderCreated")),
        ("gateway-1-Probe-gateway-1", ("gateway-1", "Probe-gateway-1")),
        ("order-Probe-order", ("order", "Probe-order")),
        ("gateway-0-Replies-gateway-0-user", ("gateway-0", "Replies-gateway-0-user")),
        ("dapr-tap-Replies-gateway-12-order", ("dapr-tap", "Replies-gateway-12-order")),
        ("foreign", ("", "foreign")),
    ],
)
def test_a_hyphen_belongs_to_a_topic_only_in_probes_and_reply_topics(queue: str, expected: tuple[str, str]) -> None:
    """A replica's number belongs to the consumer."""
    assert expected == consumer_and_topic(queue)
