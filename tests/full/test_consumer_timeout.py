"""RabbitMQ redelivers an event that a sidecar holds for too long, and the order has its effect
once.
"""

from __future__ import annotations

import signal
from pathlib import Path

import psutil
import pytest

from sidecart.launcher.lifecycle.supervisor import Supervisor
from sidecart.launcher.lifecycle.system import Options, System
from sidecart.launcher.servers import rabbitmq
from sidecart.testkit.faults.injector import send
from sidecart.testkit.tap import Tap
from tests.e2e.shopper import TEA_CENTS, Shopper

SECONDS = 240


def test_an_event_unacknowledged_for_too_long_is_redelivered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Order Service is paused with an order beyond the consumer timeout: the channel closes,
    the order ends.
    """
    monkeypatch.setattr(rabbitmq, "CONSUMER_TIMEOUT_MS", 5_000)
    with (
        System(Options("rabbitmq", folder=tmp_path / "shop"), print) as shop,
        Tap(shop) as tap,
        Shopper(shop, tap) as shopper,
    ):
        supervisor = Supervisor(shop, print)
        user = shopper.register()
        shopper.deposit(user["user_id"], 5_000)
        order = psutil.Process(shop.processes["order"])
        send([order], signal.SIGSTOP)
        accepted = shopper.order(user["user_id"], prefer="respond-async")

        def closed() -> bool:
            supervisor.look()
            return "delivery acknowledgement on channel" in (shop.logs / "rabbitmq.log").read_text(errors="replace")

        shop.deadline.until(closed, SECONDS, lambda: f"no channel was closed in {SECONDS} s", 0.2)
        order.send_signal(signal.SIGCONT)

        def ended() -> bool:
            supervisor.look()
            return "OrderPaid" in shopper.passed(accepted.json()["order_id"])

        shop.deadline.until(ended, SECONDS, lambda: f"the order did not end in {SECONDS} s", 0.2)

        assert 5_000 - TEA_CENTS == shopper.balance(user["user_id"])
        assert 1 == len(shopper.wait_for_mails(user["email"], 1))
