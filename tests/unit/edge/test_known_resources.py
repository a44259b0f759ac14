"""KnownResources caches positive answers, and asks the service for all others."""

import asyncio

import pytest

from sidecart.chassis.connections import Answer
from sidecart.chassis.errors import SidecarUnavailable
from sidecart.chassis.events import now
from sidecart.edge import known_resources
from sidecart.edge.known_resources import KnownResources
from sidecart.edge.pending_commands import PendingCommands
from tests.unit.edge.fakes import FakeSidecar


def ask(users: KnownResources, user_id: str = "u-1") -> bool:
    """Ask once whether a user exists."""
    return asyncio.run(users.may_exist("user", f"/user/{user_id}"))


def test_a_known_user_is_not_looked_up_again() -> None:
    """Users are never removed."""
    sidecar = FakeSidecar()
    sidecar.answer = lambda _app, _path: Answer(200, b"{}")
    users = KnownResources(sidecar, PendingCommands(sidecar, "gateway-0", now))

    assert [True, True] == [ask(users), ask(users)]
    assert ["user/user/u-1"] == sidecar.invoked


def test_an_unknown_user_is_looked_up_each_time() -> None:
    """The user may register at any moment."""
    sidecar = FakeSidecar()
    users = KnownResources(sidecar, PendingCommands(sidecar, "gateway-0", now))

    assert [False, False] == [ask(users), ask(users)]
    assert 2 == len(sidecar.invoked)


@pytest.mark.parametrize("status", [500, 503])
def test_an_error_of_the_service_stops_no_order_and_is_not_cached(status: int) -> None:
    """The order goes on, and the next one asks again."""
    sidecar = FakeSidecar()
    sidecar.answer = lambda _app, _path: Answer(status, b"")
    users = KnownResources(sidecar, PendingCommands(sidecar, "gateway-0", now))

    assert [True, True] == [ask(users), ask(users)]
    assert 2 == len(sidecar.invoked)


def test_an_unreachable_service_stops_no_order() -> None:
    """A missing answer is no rejection."""
    sidecar = FakeSidecar()

    def unreachable(_app: str, _path: str) -> Answer:
        raise SidecarUnavailable("timed out")

    sidecar.answer = unreachable

    assert ask(KnownResources(sidecar, PendingCommands(sidecar, "gateway-0", now)))


def test_the_cache_evicts_the_user_that_was_added_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache is bounded."""
    monkeypatch.setattr(known_resources, "KNOWN_MAX", 2)
    sidecar = FakeSidecar()
    users = KnownResources(sidecar, PendingCommands(sidecar, "gateway-0", now))
    for user_id in ("u-1", "u-2", "u-1", "u-3"):
        users.add(f"/user/{user_id}")

    assert [True, False, True] == [ask(users, "u-1"), ask(users, "u-2"), ask(users, "u-3")]
