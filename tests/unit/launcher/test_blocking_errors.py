"""Blocking errors in a sidecar's log; the lines are from real starts of daprd."""

import pytest

from sidecart.launcher.blocking_errors import first_in

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
def test_a_permanent_refusal_is_found_with_its_remedy(line: str, reason: str, remedy: str) -> None:
    """The result has the server's reason, with the topic, and the remedy."""
    found = first_in(["level=info msg=fine", line])

    assert found is not None
    assert found.reason.startswith(reason)
    assert remedy in found.remedy


def test_a_line_with_the_topic_is_preferred() -> None:
    """daprd names the topic in one of two lines; without that line the reason is still found."""
    first, both = first_in([GROUP]), first_in([GROUP, STREAM])

    assert first is not None
    assert both is not None
    assert "delete the key that has the topic's name" in first.remedy
    assert both.reason.startswith("OrderNotPaid: WRONGTYPE")
    assert "delete the key OrderNotPaid" in both.remedy


@pytest.mark.parametrize("line", ["", "level=error msg=refused", LATE, NOT_YET])
def test_a_temporary_error_is_ignored(line: str) -> None:
    """A late acknowledgement has the same code, and another sidecar may be creating the table."""
    assert first_in([line]) is None
