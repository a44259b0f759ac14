"""Tests of supervision on real processes: killed processes restart, and an unhealthy sidecar is
found.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator

import psutil
import pytest

from sidecart.launcher.lifecycle import supervisor as module
from sidecart.launcher.lifecycle.plan import MAIL_CATCHER
from sidecart.launcher.lifecycle.supervisor import Supervisor
from sidecart.launcher.lifecycle.system import System
from sidecart.launcher.servers import valkey_groups
from sidecart.launcher.topics import app_ids
from sidecart.launcher.topology import readers, sidecar_of
from sidecart.testkit.contents import backlog
from sidecart.testkit.faults.injector import send
from sidecart.testkit.tap import Tap
from tests.e2e.conftest import options
from tests.e2e.healthy import until_healthy
from tests.e2e.shopper import SECONDS, Shopper

pytestmark = pytest.mark.own_shop


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Start a shop for this module."""
    with System(options(tmp_path_factory.mktemp("watched")), print) as running:
        yield running


@pytest.fixture(scope="module")
def supervisor(watched: System) -> Supervisor:
    """Return a supervisor of the shop."""
    return Supervisor(watched, print)


def kill(shop: System, name: str) -> None:
    """Kill a process without telling the launcher."""
    psutil.Process(shop.processes[name]).kill()
    shop.deadline.until(lambda: name in shop.dead, SECONDS, lambda: f"{name} does not die")


def test_killed_processes_restart(watched: System, supervisor: Supervisor) -> None:
    """Each app, sidecar, server and the mail server restarts after a kill, alone and all at once;
    then an order works.
    """
    apps = [name for app_id in app_ids() for name in (app_id, sidecar_of(app_id))]
    servers = [name for server in watched.servers.values() for name in server.names]
    for names in (*([name] for name in (*apps, *servers, MAIL_CATCHER)), [*apps, *servers, MAIL_CATCHER]):
        before = dict(watched.processes)
        for name in names:
            kill(watched, name)
        until_healthy(watched, supervisor)
        # After a restart of the broker, sidecars may lack consumers; the supervisor restarts these,
        # too.
        assert set(names) <= {name for name, pid in watched.processes.items() if pid != before[name]}

    with Tap(watched) as tap, Shopper(watched, tap) as shopper:
        user = shopper.register()
        shopper.deposit(user["user_id"], 5_000)
        order_id = shopper.order(user["user_id"]).json()["order_id"]
        assert "OrderPaid" == shopper.final(order_id)
        assert order_id in shopper.wait_for_mails(user["email"], 1)[0]["text"]


def test_a_paused_sidecar_is_restarted(
    watched: System, supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A paused sidecar keeps its connection to the broker, which hands it an event, while its app
    stays healthy.
    """
    until_healthy(watched, supervisor)
    monkeypatch.setattr(module, "LOST_SECONDS", 1.0)
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.5)
    with Tap(watched) as tap, Shopper(watched, tap) as shopper:
        user = shopper.register()
        frozen = watched.processes[sidecar_of("order")]
        send([psutil.Process(frozen)], signal.SIGSTOP)
        try:
            answer = shopper.order(user["user_id"], prefer="wait=1")
            assert 202 == answer.status_code, answer.text

            def restarted() -> bool:
                supervisor.look()
                return watched.processes[sidecar_of("order")] != frozen

            watched.deadline.until(restarted, SECONDS, lambda: "the supervisor did not restart the sidecar", 0.1)
        finally:
            if psutil.pid_exists(frozen):
                psutil.Process(frozen).send_signal(signal.SIGCONT)
        assert "OrderNotPaid" == shopper.final(answer.json()["order_id"])
    until_healthy(watched, supervisor)


def test_an_idle_shop_is_not_restarted(
    watched: System, supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without events, the consumers of a healthy shop may be inactive for a long time."""
    until_healthy(watched, supervisor)
    monkeypatch.setattr(valkey_groups, "IDLE_MS_MAX", 0)

    # without the taps of earlier tests
    ours = {one.consumer_id for one in readers(watched.replicas)}

    def is_idle() -> bool:
        waiting = backlog(watched)
        return not any(each.undelivered or each.pending for each in waiting if each.consumer in ours)

    watched.deadline.until(is_idle, SECONDS, lambda: "events are still in progress")

    assert [] == watched.health.unread_subscriptions()
