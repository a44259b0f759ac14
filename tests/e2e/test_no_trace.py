"""After an erasure and the retention time, no place of the system has the address or the name.

The places are those of tests/e2e/places.py. Servers keep removed bytes until they rewrite their
files, so the test makes them do it, as `./sidecart rewrite-files` does. The search finds the
address in each kind of place before.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import psutil
import psycopg
import pytest
import valkey

from sidecart.launcher.dead_letters import Filter, find_dead_letters
from sidecart.launcher.lifecycle.supervisor import Supervisor
from sidecart.launcher.lifecycle.system import System
from sidecart.launcher.project import root
from sidecart.launcher.running_state import RunningState
from sidecart.launcher.servers import postgres_files, valkey_files
from sidecart.launcher.servers import valkey as valkey_server
from sidecart.launcher.servers.server import Server
from sidecart.launcher.streams import RETENTION
from sidecart.launcher.text_search import Wanted
from sidecart.testkit.contents import records
from sidecart.testkit.tap import Tap
from tests.e2e.conftest import options
from tests.e2e.healthy import until_healthy
from tests.e2e.places import files_of, places_with
from tests.e2e.replicas import start_pair, stop_pair
from tests.e2e.shopper import SECONDS, TEA_CENTS, Shopper
from tests.e2e.test_dead_letters import event
from tests.e2e.test_erasure import erase, wait_until_erased
from tests.e2e.test_mail_server import replaced_mail_server

GUIDE = root() / "docs" / "how-to" / "erase-from-files.md"
RETENTION_SECONDS = 10
LARGE_BYTES = 8 * 1024
"""RabbitMQ stores a message over 4 KiB in a file that it does not shorten, and a smaller one in the
index of its queue.
"""
LATER = "451 4.7.1 come back later"
WITH_ADDRESS = {
    "redis": ("stream UserCreateRequested", "hash ", "/valkey/appendonlydir/"),
    "rabbitmq": ("queue user-UserCreateRequested", "/journal.jif", "/msg_store_persistent/"),
    "postgres": ("table user.state", "table pg_catalog.pg_statistic", "/data/base/", "/data/pg_wal/"),
}
"""Places where the search must find the address before, by server."""

pytestmark = pytest.mark.own_shop


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Start a shop with two gateways and the live page, which keeps acknowledged events for
    seconds.
    """
    chosen = replace(options(tmp_path_factory.mktemp("no-trace")), gateways=2, monitor=True)
    with System(replace(chosen, settings={**chosen.settings, RETENTION: str(RETENTION_SECONDS)}), print) as running:
        if running.options.broker == "redis":
            with valkey.Valkey.from_url(valkey_server.url(running.broker_address)) as client:
                # texts stay texts in the rewritten file, so the search can find them
                client.config_set("rdbcompression", "no")
        yield running


@pytest.fixture
def shopper(shop: System) -> Iterator[Shopper]:
    """A client of the shop."""
    with Tap(shop) as tap, Shopper(shop, tap) as client:
        yield client


def has_record(shopper: Shopper, kind: str, wanted: Wanted) -> bool:
    """Return whether a record of a kind has the texts."""
    return any(f"{kind}:" in key and wanted.are_in(value) for key, value in records(shopper.shop))


def live(shopper: Shopper, user: dict[str, Any], wanted: Wanted) -> None:
    """Do all that leaves the address somewhere: a deposit, orders, mails, a dead letter."""
    user_id = user["user_id"]
    shopper.deposit(user_id, 2 * TEA_CENTS)
    paid = [shopper.order(user_id).json()["order_id"]]
    shopper.wait_for_mails(user["email"], 1)
    with replaced_mail_server(shopper.shop, ("--to-recipient", LATER)):
        paid.append(shopper.order(user_id).json()["order_id"])
        assert {"OrderPaid"} == {shopper.final(order_id) for order_id in paid}
        shopper.until(lambda: has_record(shopper, "mail-retry", wanted), "a mail in the retry queue")
    data = {"user_id": user_id, "email": [user["email"]], "name": 1, "padding": "." * LARGE_BYTES}
    malformed = event("UserCreated", data)
    shopper.tap.publish("UserCreated", json.dumps(malformed | {"subject": user_id}).encode())
    state, letter = RunningState(shopper.shop.ports, shopper.shop.tokens), Filter((malformed["id"],))
    shopper.until(lambda: any(find_dead_letters(state, letter)), "the dead letter")


def register_again(shopper: Shopper, user: dict[str, Any], wanted: Wanted) -> list[str]:
    """Register again while the User Service is stopped; return the places with the address in this
    moment.

    The command is processed soon before or after the erasure.
    """
    own = shopper.caller(user["email"])
    body = {"email": user["email"], "name": user["name"]}
    stop_pair(shopper.shop, "user")
    try:
        again = shopper.http.post(
            "/user/register", json=body, headers=own | {"idempotency-key": uuid.uuid4().hex, "prefer": "respond-async"}
        )
        assert 202 == again.status_code
        shopper.until(lambda: has_record(shopper, "pending", wanted), "the pending command")
        return places_with(shopper.shop, wanted)
    finally:
        start_pair(shopper.shop, "user")
        shopper.shop.wait_ready("user")


def rewrite_files(shop: System) -> None:
    """Make the servers drop removed bytes, as `./sidecart rewrite-files` does."""
    for env, server in shop.servers.items():
        server.drop_removed_bytes(shop.state.addresses[env], shop.deadline, partial(kill_and_start, shop, server))


def kill_and_start(shop: System, server: Server) -> None:
    """Do what the launcher does when a server is killed, sidecars included."""
    name = server.names[0]
    psutil.Process(shop.processes[name]).kill()
    shop.deadline.until(lambda: name in shop.dead, SECONDS, lambda: f"{name} does not die")
    until_healthy(shop, Supervisor(shop, print))


def test_the_guide_has_the_commands_for_servers_of_a_user() -> None:
    """They are those that the launcher sends to its own servers."""
    guide = GUIDE.read_text(encoding="utf-8")

    for language, listed in (("text", valkey_files.COMMANDS), ("postgresql", postgres_files.STATEMENTS)):
        [block] = re.findall(rf"^```{language}\n(.*?)^```", guide, re.DOTALL | re.MULTILINE)
        assert [each.strip() for each in listed] == [
            each.strip().removesuffix(";") for each in re.split(r"\n(?!\s|END)", block.strip())
        ]


def test_no_place_has_the_address_after_an_erasure(shopper: Shopper, capsys: pytest.CaptureFixture[str]) -> None:
    """The address and the name are gone from records, streams, queues, tables, logs and files."""
    shop, mark = shopper.shop, uuid.uuid4().hex
    name, email = f"Zoe {mark[16:]}", f"zoe.{mark[:16]}@example.com"
    wanted = Wanted([mark[:16], mark[16:]])
    own = shopper.caller(email)
    shopper.acting.add(email)
    answer = shopper.http.post(
        "/user/register", json={"email": email, "name": name}, headers=own | {"idempotency-key": mark[:8]}
    )
    user = dict(answer.json())
    live(shopper, user, wanted)
    if shop.options.store == "postgres":
        with psycopg.connect(shop.store_address, autocommit=True) as connection:
            for statement in ("ANALYZE", "CHECKPOINT"):  # as the server does by itself
                connection.execute(statement)
    before = register_again(shopper, user, wanted)

    assert 200 == erase(shopper, user).status_code
    wait_until_erased(shopper, user["user_id"])
    left = list[str]()

    def nothing_at_the_servers() -> bool:
        left[:] = [each for each in places_with(shop, wanted) if not each.startswith("file ")]
        return not [each for each in left if "pg_statistic" not in each]

    shop.deadline.until(nothing_at_the_servers, SECONDS, lambda: f"still: {left}")
    files = files_of(shop.options.folder, wanted)
    rewrite_files(shop)
    after = places_with(shop, wanted)

    with capsys.disabled():
        print(f"\nthe address is in {len(before)} places, after the retention time in {files}, at the end in {after}")
    expected = (*WITH_ADDRESS[shop.options.broker], *WITH_ADDRESS[shop.options.store])
    assert [] == [each for each in expected if not any(each in place for place in before)]
    assert [] == after
