"""The due times of mails in the retry queue."""

from __future__ import annotations

from datetime import timedelta

import pytest

from services.notification.mail.outcome import Outcome
from services.notification.mail.retry_schedule import LEASE, RETENTION, RetrySchedule
from tests.unit.services.notification.mail.harness import BEGIN, HOUR

MINUTE = timedelta(minutes=1)
SCHEDULE = RetrySchedule(lambda: BEGIN, MINUTE)


@pytest.mark.parametrize(
    ("outcome", "pauses"),
    [
        ("deferred", [MINUTE, 2 * MINUTE, 4 * MINUTE]),
        ("broken", [timedelta(seconds=5), timedelta(seconds=10), timedelta(seconds=20)]),
        ("unknown", [HOUR, 2 * HOUR, 4 * HOUR]),
        ("unreachable", [timedelta(), timedelta(), timedelta()]),
    ],
)
def test_a_mail_is_due_by_its_last_outcome(outcome: Outcome, pauses: list[timedelta]) -> None:
    """The pause starts by the outcome and doubles; an unreachable server is probed separately."""
    mails = [SCHEDULE.new(b"{}", outcome)]
    for _ in pauses[1:]:
        mails.append(SCHEDULE.after(mails[-1], outcome))

    assert pauses == [each.due - BEGIN for each in mails]
    assert {""} == {each.holder for each in mails}


@pytest.mark.parametrize(("dot_sent", "lease"), [(False, LEASE), (True, HOUR)])
def test_a_mail_in_transmission_is_claimed(dot_sent: bool, lease: timedelta) -> None:
    """The claim is longer after the dot, and each claim has its own holder."""
    mail = SCHEDULE.new(b"{}", None, dot_sent)

    assert lease == mail.due - BEGIN
    assert (LEASE, HOUR) == (SCHEDULE.claimed(mail).due - BEGIN, SCHEDULE.with_dot(mail).due - BEGIN)
    assert 2 == len({mail.holder, SCHEDULE.claimed(mail).holder})


def test_a_mail_is_too_old_after_the_retention_time() -> None:
    """The time counts from the first attempt."""
    mail = SCHEDULE.new(b"{}", "deferred")
    before = RetrySchedule(lambda: BEGIN + RETENTION - timedelta(seconds=1), MINUTE)
    after = RetrySchedule(lambda: BEGIN + RETENTION, MINUTE)

    assert (False, True) == (before.is_too_old(mail), after.is_too_old(mail))
