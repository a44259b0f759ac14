"""Tests of `./sidecart run` with external servers and settings from the environment, at IPv6
addresses too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from sidecart.launcher.deadline import Deadline
from sidecart.launcher.ports import free_port
from sidecart.launcher.processes import Processes
from sidecart.launcher.servers.registry import BROKERS, STORES
from tests.e2e.conftest import broker, store
from tests.e2e.shopper import SECONDS, TEA, new_address
from tests.full.project_copy import running
from tests.full.relay import Relay

pytestmark = [pytest.mark.own_shop, pytest.mark.sidecars]

V6 = "::1"
SENDER = "me@my.shop"


class MyServer:
    """A mail server outside the launcher that records sender and recipients of each mail."""

    def __init__(self) -> None:
        self.accepted: list[tuple[str, tuple[str, ...]]] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Accept the mail."""
        self.accepted.append((envelope.mail_from or "", tuple(envelope.rcpt_tos)))
        return "250 2.0.0 accepted"


@pytest.fixture(scope="module")
def external(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Start the broker and the store of this run; return their addresses at ::1 by environment
    variable.
    """
    folder = tmp_path_factory.mktemp("external")
    processes, deadline, found = Processes(folder / "logs"), Deadline(), dict[str, str]()
    with ExitStack() as stack:
        for server in (BROKERS[broker()].server, STORES[store()]):
            if server.env in found:
                continue
            address = server.start(processes, folder / "data", deadline)
            stack.callback(server.sweep, folder / "data")
            stack.callback(processes.stop, list(server.names), server.stop_seconds)
            [port] = re.findall(r"127\.0\.0\.1:(\d+)", address)
            relay = stack.enter_context(Relay(int(port), V6))
            found[server.env] = address.replace(f"127.0.0.1:{port}", f"[{V6}]:{relay.port}")
            assert server.check(found[server.env]) is None
        yield found


def test_a_shop_runs_on_external_servers_at_ipv6_addresses(external: dict[str, str], tmp_path: Path) -> None:
    """Orders are paid, and their mails go to the external server from the configured sender,
    without a mail catcher.
    """
    server = MyServer()
    smtp = Controller(server, hostname=V6, port=free_port())
    smtp.start()
    mail = {"SMTP_URL": f"smtp://[{V6}]:{smtp.port}", "MAIL_FROM": SENDER, "PAY_WITHIN_SECONDS": "800"}
    words = " ".join(f"{name}={value}" for name, value in {**external, **mail}.items())
    try:
        command = f"env {words} ./sidecart run --no-monitor --broker {broker()} --store {store()}"
        with running(tmp_path, command) as shop:
            email = new_address()
            with httpx.Client(base_url=shop.url, timeout=SECONDS, trust_env=False) as http:
                user = http.post("/user/register", json={"email": email, "name": "Ann"}).json()
                order = http.post("/order/create", json={"user_id": user["user_id"], "items": [TEA]})
            Deadline().until(lambda: bool(server.accepted), SECONDS, lambda: "no mail arrived", 0.1)
            output, state = shop.log.read_text(), shop.run("./sidecart", "status").stdout
    finally:
        smtp.stop()

    assert 201 == order.status_code
    assert {(SENDER, (email,))} == set(server.accepted)
    assert f"mails smtp://[{V6}]:{smtp.port}\n" in state
    assert f"Its mails are at    smtp://[{V6}]:{smtp.port}\n" in output
    names = set(re.findall(r"^(\S+) +\d+ ", state, re.MULTILINE))
    assert {"gateway", "notification"} <= names
    assert set() == names & {"mail", *BROKERS[broker()].server.names, *STORES[store()].names}
