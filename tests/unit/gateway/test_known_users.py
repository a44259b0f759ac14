"""Who exists: positive answers are kept, everything else is asked."""

import asyncio

import pytest

from chassis.connections import Answer
from chassis.errors import SidecarUnavailable
from gateway import known_users
from gateway.known_users import KnownUsers
from tests.unit.gateway.fakes import FakeSidecar


def ask(users: KnownUsers, user_id: str = "u-1") -> bool:
    """Ask once."""
    return asyncio.run(users.may_exist(user_id))


def test_a_user_that_was_found_is_not_asked_for_again() -> None:
    """Users are never removed."""
    sidecar = FakeSidecar()
    sidecar.answer = lambda _app, _path: Answer(200, b"{}")
    users = KnownUsers(sidecar)

    assert [True, True] == [ask(users), ask(users)]
    assert ["user/user/u-1"] == sidecar.invoked


def test_an_unknown_user_is_asked_for_each_time() -> None:
    """He may be registered the moment after."""
    sidecar = FakeSidecar()
    users = KnownUsers(sidecar)

    assert [False, False] == [ask(users), ask(users)]
    assert 2 == len(sidecar.invoked)


@pytest.mark.parametrize("status", [500, 503])
def test_a_service_in_trouble_stops_no_order_and_is_not_believed(status: int) -> None:
    """The order goes on, and the next one asks again."""
    sidecar = FakeSidecar()
    sidecar.answer = lambda _app, _path: Answer(status, b"")
    users = KnownUsers(sidecar)

    assert [True, True] == [ask(users), ask(users)]
    assert 2 == len(sidecar.invoked)


def test_a_service_that_is_unreachable_stops_no_order() -> None:
    """No answer in time is no refusal."""
    sidecar = FakeSidecar()

    def away(_app: str, _path: str) -> Answer:
        raise SidecarUnavailable("timed out")

    sidecar.answer = away

    assert ask(KnownUsers(sidecar))


def test_the_least_recently_seen_user_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory is bounded."""
    monkeypatch.setattr(known_users, "KNOWN_MAX", 2)
    sidecar = FakeSidecar()
    users = KnownUsers(sidecar)
    for user_id in ("u-1", "u-2", "u-1", "u-3"):
        users.add(user_id)

    assert [True, False, True] == [ask(users, "u-1"), ask(users, "u-2"), ask(users, "u-3")]
