"""Tests of the token issuer: its keys rotate without a restart, and its outage stops no known
caller.
"""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from sidecart.issuer import keys, tokens
from sidecart.launcher.lifecycle.plan import ISSUER
from sidecart.launcher.lifecycle.system import System
from sidecart.launcher.local_http import get
from sidecart.launcher.ports import is_listening
from sidecart.testkit.tap import Tap
from tests.e2e.conftest import options
from tests.e2e.shopper import SECONDS, Shopper, new_address

pytestmark = [pytest.mark.own_shop, pytest.mark.sidecars]


@pytest.fixture(scope="module")
def own_shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Start a shop whose issuer this module stops."""
    with System(options(tmp_path_factory.mktemp("issuer")), print) as running:
        yield running


@pytest.fixture(scope="module")
def own_tap(own_shop: System) -> Iterator[Tap]:
    """Return a tap, which records every event that passes the broker."""
    with Tap(own_shop) as running:
        yield running


@pytest.fixture
def shopper(own_shop: System, own_tap: Tap) -> Iterator[Shopper]:
    """Return a client of the shop, with the newest key."""
    with Shopper(own_shop, own_tap) as client:
        yield client


def stop_issuer(shop: System) -> None:
    """Kill the issuer and wait until its port is closed."""
    shop.kill(ISSUER)
    shop.deadline.until(lambda: not is_listening(shop.ports[ISSUER]), SECONDS, lambda: "the issuer still listens")


def start_issuer(shop: System) -> None:
    """Start the issuer and wait until it listens."""
    shop.starter.start_issuer()
    shop.deadline.until(lambda: is_listening(shop.ports[ISSUER]), SECONDS, lambda: "the issuer does not listen")


def signed(shop: System, address: str) -> dict[str, str]:
    """Return the header of a new token, signed with the newest key."""
    return {"authorization": f"Bearer {tokens.token(keys.load(shop.issuer_folder), address)}"}


def status(http: httpx.Client, user_id: str, headers: dict[str, str]) -> int:
    """Return the status of a read of the caller's own account."""
    return http.get(f"/account/{user_id}", headers=headers).status_code


def until_accepted(shopper: Shopper, user_id: str, headers: dict[str, str]) -> None:
    """Wait until the gateway knows the key of a token: it asks for unknown keys every few
    seconds.
    """
    shopper.until(lambda: status(shopper.http, user_id, headers) == 200, "the new key to be known")


def test_keys_rotate_without_a_restart(shopper: Shopper) -> None:
    """Tokens of the new key are accepted, those of the key before it stay valid, and those of a
    removed key end.
    """
    shop, address = shopper.shop, new_address()
    user_id = shopper.register(email=address)["user_id"]
    shopper.event("BillingAccountCreated", user_id)
    gateway, first = shop.processes["gateway"], signed(shop, address)
    assert 200 == status(shopper.http, user_id, first)

    keys.rotate(shop.issuer_folder)
    second = signed(shop, address)
    until_accepted(shopper, user_id, second)
    assert 200 == status(shopper.http, user_id, first)

    keys.rotate(shop.issuer_folder)
    third = signed(shop, address)
    until_accepted(shopper, user_id, third)

    assert (401, 200, 200) == tuple(status(shopper.http, user_id, each) for each in (first, second, third))
    assert gateway == shop.processes["gateway"]


def test_an_outage_of_the_issuer_stops_no_known_key(shopper: Shopper) -> None:
    """Known keys verify old and new tokens; a token of an unknown key is 401, and the gateway stays
    ready.
    """
    shop, address = shopper.shop, new_address()
    user_id = shopper.register(email=address)["user_id"]
    shopper.event("BillingAccountCreated", user_id)
    old = signed(shop, address)
    stop_issuer(shop)
    try:
        new = signed(shop, address)
        placed = shopper.order(user_id)
        known = [status(shopper.http, user_id, each) for each in (old, new)]
        before = keys.load(shop.issuer_folder)
        keys.rotate(shop.issuer_folder)
        unknown = signed(shop, address)
        refused = shopper.http.get(f"/account/{user_id}", headers=unknown)
        # The question about the unknown key failed, and the known keys are still known.
        later = {"authorization": f"Bearer {tokens.token(before, address)}"}
        known.append(status(shopper.http, user_id, later))
        ready = get(shop.ports["gateway"], "/readyz")[0]
    finally:
        start_issuer(shop)

    assert 201 == placed.status_code
    assert [200] * 3 == known
    assert (401, "urn:sidecart:problem:unauthorized") == (refused.status_code, refused.json()["type"])
    assert 200 == ready
    until_accepted(shopper, user_id, unknown)


def test_a_start_during_an_outage_waits_for_the_keys(shopper: Shopper) -> None:
    """A gateway without keys is not ready and refuses every caller with 503; it needs no restart
    when the issuer is back.
    """
    shop, address = shopper.shop, new_address()
    user_id = shopper.register(email=address)["user_id"]
    shopper.event("BillingAccountCreated", user_id)
    shop.stop_app("gateway")
    stop_issuer(shop)
    try:
        shop.start_app("gateway")
        reason = "the keys of the token issuer are not known yet"
        shopper.until(lambda: reason in get(shop.ports["gateway"], "/readyz")[1], "the gateway to report it")
        read, order = shopper.http.get(f"/account/{user_id}"), shopper.order(user_id)
        products = shopper.http.get("/products")
        nobody = httpx.get(f"{shop.url}/account/{user_id}", trust_env=False)
    finally:
        start_issuer(shop)

    assert {(503, "urn:sidecart:problem:unavailable")} == {
        (answer.status_code, answer.json()["type"]) for answer in (read, order)
    }
    assert read.headers["retry-after"]
    assert (200, 401) == (products.status_code, nobody.status_code)
    shop.wait_ready("gateway")
    assert 200 == status(shopper.http, user_id, signed(shop, address))
