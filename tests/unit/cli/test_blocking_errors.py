"""Which lines of a log say that no waiting helps; the lines are daprd's own, of starts that were tried."""

import pytest

from cli.blocking_errors import first_in

QUEUE = (
    'time="2026-11-28T06:40:00Z" level=error msg="rabbitmq pub/sub: prepareSubscription for topic/queue '
    "'UserCreateRequested/user-UserCreateRequested' failed in channel.QueueDeclare: Exception (406) Reason: "
    "\\\"PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue 'user-UserCreateRequested' in vhost '/': "
    "received none but current is the value '5' of type 'long'\\\"\" app_id=user"
)
LATE = (
    'level=error msg="in subscriber: Exception (406) Reason: \\"PRECONDITION_FAILED - delivery acknowledgement on '
    'channel 1 timed out\\""'
)
GROUP = 'level=error msg="redis streams: WRONGTYPE Operation against a key holding the wrong kind of value"'
STREAM = (
    'level=error msg="redis streams: error reading from stream OrderNotPaid: WRONGTYPE Operation against a key holding '
    'the wrong kind of value" app_id=notification'
)
TABLE = 'load order||o-1: 500 failed to get: ERROR: column "value" does not exist (SQLSTATE 42703)'
NOT_YET = 'ERROR: relation "state" does not exist (SQLSTATE 42P01)'


@pytest.mark.parametrize(
    ("line", "reason", "remedy"),
    [
        (
            QUEUE,
            "PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue 'user-UserCreateRequested'",
            "delete the queue user-UserCreateRequested",
        ),
        (STREAM, "OrderNotPaid: WRONGTYPE Operation", "delete the key"),
        (TABLE, 'ERROR: column "value" does not exist (SQLSTATE 42703)', "another database in POSTGRES_URL"),
    ],
)
def test_what_a_server_refuses_for_ever_is_named(line: str, reason: str, remedy: str) -> None:
    """In the server's words, with the topic, and with what to do."""
    found = first_in(["level=info msg=fine", line])

    assert found is not None
    assert found.reason.startswith(reason)
    assert remedy in found.remedy


def test_of_several_lines_the_one_that_names_the_topic_is_told() -> None:
    """daprd says it in one of two; without it the reason is told all the same."""
    first, both = first_in([GROUP]), first_in([GROUP, STREAM])

    assert first is not None
    assert both is not None
    assert "delete the key that has the topic's name" in first.remedy
    assert both.reason.startswith("OrderNotPaid: WRONGTYPE")
    assert "delete the key OrderNotPaid" in both.remedy


@pytest.mark.parametrize("line", ["", "level=error msg=refused", LATE, NOT_YET])
def test_what_passes_is_none(line: str) -> None:
    """The same code for an acknowledgement that was late, a table that another sidecar is just making."""
    assert first_in([line]) is None
