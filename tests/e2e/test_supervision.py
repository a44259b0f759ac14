"""Supervision, on real processes: whoever is killed comes back, and a sidecar that is unhealthy is found out."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import psutil
import pytest

from cli import supervisor as module
from cli.servers import valkey
from cli.shop import MAIL_CATCHER, Shop
from cli.supervisor import Supervisor
from cli.tap import Tap
from cli.topics import APPS
from cli.topology import readers, sidecar_of
from tests.e2e.conftest import options
from tests.e2e.healthy import until_healthy
from tests.e2e.shopper import SECONDS, Shopper

pytestmark = pytest.mark.own_shop


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A shop of its own."""
    with Shop(options(tmp_path_factory.mktemp("watched")), print) as running:
        yield running


@pytest.fixture(scope="module")
def supervisor(watched: Shop) -> Supervisor:
    """Who looks after it."""
    return Supervisor(watched, print)


def kill(shop: Shop, name: str) -> None:
    """As the kernel would; nobody is told."""
    psutil.Process(shop.processes[name]).kill()
    shop.deadline.until(lambda: name in shop.dead, SECONDS, lambda: f"{name} does not die")


def test_whoever_is_killed_comes_back(watched: Shop, supervisor: Supervisor) -> None:
    """One after the other: each app, each sidecar, each server, the mail server; then all at once. An order works."""
    apps = [name for app_id in APPS for name in (app_id, sidecar_of(app_id))]
    servers = [name for server in watched.servers.values() for name in server.names]
    for names in (*([name] for name in (*apps, *servers, MAIL_CATCHER)), [*apps, *servers, MAIL_CATCHER]):
        before = dict(watched.processes)
        for name in names:
            kill(watched, name)
        until_healthy(watched, supervisor)
        # A broker that comes back may find sidecars that then do not read as they should: those are started again too.
        assert set(names) <= {name for name, pid in watched.processes.items() if pid != before[name]}

    with Tap(watched) as tap, Shopper(watched, tap) as shopper:
        user = shopper.register()
        shopper.deposit(user["user_id"], 5_000)
        order_id = shopper.order(user["user_id"]).json()["order_id"]
        assert "OrderPaid" == shopper.final(order_id)
        assert order_id in shopper.wait_for_mails(user["email"], 1)[0]["text"]


def test_a_sidecar_that_is_paused_is_started_again(
    watched: Shop, supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is paused says nothing of it to its broker, which hands it an event; and its app is healthy."""
    until_healthy(watched, supervisor)
    monkeypatch.setattr(module, "LOST_SECONDS", 1.0)
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.5)
    with Tap(watched) as tap, Shopper(watched, tap) as shopper:
        user = shopper.register()
        frozen = watched.processes[sidecar_of("order")]
        psutil.Process(frozen).send_signal(signal.SIGSTOP)
        try:
            answer = shopper.order(user["user_id"], prefer="wait=1")
            assert 202 == answer.status_code, answer.text

            def restarted() -> bool:
                supervisor.look()
                return watched.processes[sidecar_of("order")] != frozen

            watched.deadline.until(restarted, SECONDS, lambda: "nobody noticed", 0.1)
        finally:
            if psutil.pid_exists(frozen):
                psutil.Process(frozen).send_signal(signal.SIGCONT)
        assert "OrderNotPaid" == shopper.final(answer.json()["order_id"])
    until_healthy(watched, supervisor)


def test_a_shop_at_rest_is_left_alone(watched: Shop, supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has asked its broker for anything in a while, because nothing has come."""
    until_healthy(watched, supervisor)
    monkeypatch.setattr(valkey, "IDLE_MS_MAX", 0)

    ours = {one.consumer_id for one in readers(watched.replicas)}  # not the taps of the tests before

    def at_rest() -> bool:
        backlog = watched.broker.backlog(watched.broker_address, watched.data)
        return not any(each.undelivered or each.pending for each in backlog if each.consumer in ours)

    watched.deadline.until(at_rest, SECONDS, lambda: "there is something to do")

    assert [] == watched.unread_subscriptions()
