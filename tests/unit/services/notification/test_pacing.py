"""Pacing: any hour has a limited number of due times, and no mail is lost."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.notification.pacing import HOUR_SECONDS, PER_HOUR_MAX, next_due, pause_until

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def dues(pauses: list[int], per_hour: int) -> list[int]:
    """Return the due times of mails that are requested with these pauses, in seconds from BEGIN."""
    at, found = BEGIN, list[int]()
    mailed: tuple[int, ...] = ()
    for pause in pauses:
        at += timedelta(seconds=pause)
        mailed, due = next_due(mailed, at, per_hour)
        assert len(mailed) <= per_hour
        found.append(int(((due or at) - BEGIN).total_seconds()))
    return found


@given(st.lists(st.integers(-5, 900), max_size=60), st.integers(1, 6))
def test_no_hour_has_more_due_times_than_allowed(pauses: list[int], per_hour: int) -> None:
    """Not even with clocks that go back, and each mail has a due time, in the order of the
    requests.
    """
    found = dues(pauses, per_hour)

    assert len(pauses) == len(found)
    assert sorted(found) == found
    for first, last in zip(found, found[per_hour:], strict=False):
        assert last - first >= HOUR_SECONDS


def test_only_excess_mails_wait() -> None:
    """The third mail of an hour waits for the end of that hour if two are allowed."""
    assert [0, 10, 3600, 3610, 8000] == dues([0, 10, 10, 10, 7970], 2)
    assert [0] * 100 == dues([0] * 100, PER_HOUR_MAX)


def test_zero_is_no_limit() -> None:
    """The mailbox then keeps no times."""
    assert ((), None) == next_due((1, 2, 3), BEGIN, 0)


def test_a_mail_waits_until_its_time() -> None:
    """Then it may be sent."""
    later = BEGIN + timedelta(seconds=1)

    assert later == pause_until("2026-01-01T00:00:01.000Z", BEGIN)
    assert (None, None) == (pause_until("2026-01-01T00:00:00.000Z", BEGIN), pause_until(None, BEGIN))
