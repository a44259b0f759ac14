"""Tests of `./sidecart run` on servers that run already.

Their addresses come from the environment, at IPv6 too, or from a component folder outside the
project.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from shop.acting import acting
from sidecart.launcher.components import LEFT_OUT
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.ports import free_port
from sidecart.launcher.processes import Processes
from sidecart.launcher.project import root
from sidecart.launcher.servers.registry import BROKERS, STORES
from tests.e2e import component_files
from tests.e2e.conftest import broker, store
from tests.e2e.shopper import SECONDS, TEA, new_address
from tests.full.project_copy import Running, running
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
    """Start the broker and the store of this run; return their addresses at ::1 and the login of
    their administrator, by environment variable.
    """
    folder = tmp_path_factory.mktemp("external")
    processes, deadline, found = Processes(folder / "logs"), Deadline(), dict[str, str]()
    variables: dict[str, str] = {}
    with ExitStack() as stack:
        for server in (BROKERS[broker()], STORES[store()]):
            if server.env in found:
                continue
            address = server.start(processes, folder / "data", deadline)
            stack.callback(server.sweep, folder / "data")
            stack.callback(processes.stop, list(server.names), server.stop_seconds)
            [port] = re.findall(r"127\.0\.0\.1:(\d+)", address)
            relay = stack.enter_context(Relay(int(port), V6))
            found[server.env] = address.replace(f"127.0.0.1:{port}", f"[{V6}]:{relay.port}")
            assert server.check(found[server.env]) is None
            variables |= server.variables(found[server.env])
        yield variables


def test_the_project_runs_on_external_servers_at_ipv6_addresses(external: dict[str, str], tmp_path: Path) -> None:
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
            with httpx.Client(
                base_url=shop.url, timeout=SECONDS, trust_env=False, auth=acting(shop.issuer_folder)
            ) as http:
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
    assert set() == names & {"mail", *BROKERS[broker()].names, *STORES[store()].names}


@pytest.fixture(scope="module")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Start a broker and a store of this run; return their addresses and logins by the variables
    that the component files read.
    """
    folder = tmp_path_factory.mktemp("mine")
    processes, deadline, found = Processes(folder / "logs"), Deadline(), dict[str, dict[str, str]]()
    with ExitStack() as stack:
        for server in {BROKERS[broker()].env: BROKERS[broker()], STORES[store()].env: STORES[store()]}.values():
            found[server.env] = server.variables(server.start(processes, folder / "data", deadline))
            stack.callback(server.sweep, folder / "data")
            stack.callback(processes.stop, list(server.names), server.stop_seconds)
        yield {
            **{name: value for each in found.values() for name, value in each.items() if name not in found},
            component_files.BROKER: found[BROKERS[broker()].env][BROKERS[broker()].env],
            component_files.STORE: found[STORES[store()].env][STORES[store()].env],
        }


def completed(shop: Running) -> bool:
    """Register, deposit and order; return whether the order is paid and its mail has arrived."""
    email = new_address()
    with httpx.Client(base_url=shop.url, timeout=SECONDS, trust_env=False, auth=acting(shop.issuer_folder)) as http:
        user_id = http.post("/user/register", json={"email": email, "name": "Ann"}).json()["user_id"]
        http.post("/account/deposit", json={"user_id": user_id, "amount_cents": 10_000}).raise_for_status()
        order = http.post("/order/create", json={"user_id": user_id, "items": [TEA]}).raise_for_status().json()
        path = f"/order/{order['order_id']}"
        Deadline().until(lambda: http.get(path).json()["status"] == "paid", SECONDS, lambda: "not paid", 0.1)
    [mails_at] = re.findall(r"mails (http://\S+)", shop.run("./sidecart", "status").stdout)

    def mailed() -> bool:
        return bool(httpx.get(f"{mails_at}/mails", params={"to": email}, trust_env=False).json())

    Deadline().until(mailed, SECONDS, lambda: "no mail arrived", 0.1)
    return True


def test_the_project_runs_on_a_component_folder(addresses: dict[str, str], tmp_path: Path) -> None:
    """The launcher starts no server and prints the skipped checks; an order is completed."""
    folder = component_files.write(tmp_path / "components", broker(), store())
    words = " ".join(f"{name}={value}" for name, value in addresses.items())
    with running(tmp_path, f"env {words} ./sidecart run --components {folder}") as shop:
        assert completed(shop)
        output, state = shop.log.read_text(), shop.run("./sidecart", "status")

    assert [] == [each for each in LEFT_OUT if f"not checked: {each}\n" not in output]
    assert state.stdout.startswith(f"components {folder}, gateway ")
    assert 0 == state.returncode, state.stdout
    names = set(re.findall(r"^(\S+) +\d+ ", state.stdout, re.MULTILINE))
    assert {"gateway", "gateway-sidecar", "notification", "mail"} <= names
    assert set() == names & {"monitor", *BROKERS[broker()].names, *STORES[store()].names}


def test_a_component_that_is_missing_is_named_with_the_folder(addresses: dict[str, str], tmp_path: Path) -> None:
    """Nothing starts, and one message names the component, its users and the folder."""
    folder = component_files.write(tmp_path / "components", broker(), store())
    (folder / "replies.yaml").unlink()
    done = subprocess.run(
        ["./sidecart", "run", "--components", folder],
        cwd=root(),
        env={**os.environ, **addresses},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (1, "") == (done.returncode, done.stdout)
    assert f"{folder}: no component `replies` (pubsub.*), used by gateway" in done.stderr
