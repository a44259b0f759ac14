"""Tests of a shop with a certified OpenID Connect provider (npm's `oidc-provider`) as its issuer.

The launcher's own issuer and the gateway share a library, so they could share a mistake. This
provider shares none with them.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from sidecart.edge.callers import caller_id
from sidecart.edge.token_verifier import SKEW_SECONDS
from sidecart.launcher.lifecycle.plan import ISSUER
from sidecart.launcher.lifecycle.system import Options, System
from sidecart.launcher.local_http import get
from sidecart.monitor.page import NO_FORMS
from tests.e2e.attack import must_be_refused
from tests.e2e.live_client import admitted
from tests.e2e.shopper import TEA, TEA_CENTS
from tests.full.node_packages import locked_packages, unsafe
from tests.full.oidc_provider import FOLDER, SECONDS, OidcProvider, new_keys
from tests.full.project_copy import running

AUDIENCE = "https://shop.example/api"
ANN, BOB, CAROL, BOSS = (f"{name}@example.com" for name in ("ann", "bob", "carol", "boss"))
"""Two users, a user whose address is not verified, and an operator (oidc/provider.mjs)."""
SUBJECTS = {ANN: "u-1", BOB: "u-2"}
KEYS_UNKNOWN = "the keys of the token issuer are not known yet"
Headers = dict[str, str]


def bearer(token: object) -> Headers:
    """Return the header of a token."""
    return {"authorization": f"Bearer {token}"}


@dataclass(frozen=True, slots=True)
class Shop:
    """A shop, its issuer, a client without a token, and two users with money and an order."""

    system: System
    provider: OidcProvider
    http: httpx.Client
    reads: dict[str, list[str]]
    """The paths of a user's data: those that name the user, then a deposit, then an order."""

    def user(self, address: str, client_id: str = "web") -> Headers:
        """Log in and return the header of a new token."""
        return bearer(self.provider.user_tokens(address, AUDIENCE, client_id)["access_token"])

    def payments(self, scope: str = "deposits", audience: str = AUDIENCE) -> Headers:
        """Return the header of a new token of the payment provider."""
        return bearer(self.provider.client_token(audience, scope))

    def statuses(self, address: str, headers: Headers) -> list[int]:
        """Return the statuses of all reads of a user's data."""
        return [self.http.get(path, headers=headers).status_code for path in self.reads[address]]

    def status(self, headers: Headers) -> int:
        """Return the status of a read of Ann's account."""
        return self.http.get(f"/account/{self.id_of(ANN)}", headers=headers).status_code

    def id_of(self, address: str) -> str:
        """Return the id that a user must have."""
        return caller_id(self.provider.issuer, SUBJECTS[address])

    def until_known(self, headers: Headers) -> None:
        """Wait until the gateway knows the key of a token of Ann's."""
        self.system.deadline.until(lambda: self.status(headers) == 200, SECONDS, lambda: "the key stays unknown")


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OidcProvider]:
    """Start the provider."""
    with OidcProvider(tmp_path_factory.mktemp("provider")) as running:
        yield running


@pytest.fixture(scope="module")
def shop(provider: OidcProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """Start a shop with a live page, which finds the keys by discovery; register two users."""
    env = {"OIDC_ISSUER": provider.issuer, "OIDC_AUDIENCE": AUDIENCE}
    made = Options(folder=tmp_path_factory.mktemp("shop"), env=env, monitor=True)
    with System(made, print) as system, httpx.Client(base_url=system.url, timeout=SECONDS, trust_env=False) as http:
        found = Shop(system, provider, http, {})
        found.reads[ANN] = bought(found, ANN, "web")
        found.reads[BOB] = bought(found, BOB, "web-ec")
        yield found


def bought(shop: Shop, address: str, client_id: str) -> list[str]:
    """Register a user, deposit money, order tea until it is paid; return the paths of all reads."""
    user, user_id = shop.user(address, client_id), shop.id_of(address)
    registered = shop.http.post("/user/register", json={"name": "Ann"}, headers=user)
    deposit = {"user_id": user_id, "amount_cents": 10 * TEA_CENTS}
    deposited = shop.http.post("/account/deposit", json=deposit, headers=shop.payments())
    ordered = shop.http.post("/order/create", json={"items": [TEA]}, headers=user)

    answers = (registered, deposited, ordered)
    assert [201] * 3 == [each.status_code for each in answers], [each.text for each in answers]
    assert (user_id, address) == (registered.json()["user_id"], registered.json()["email"])
    order = f"/order/{ordered.json()['order_id']}"
    mails = f"/notification/{user_id}"
    shop.system.deadline.until(
        lambda: (
            shop.http.get(order, headers=user).json().get("status") == "paid"
            and shop.http.get(mails, headers=user).status_code == 200
        ),
        SECONDS,
        lambda: f"{order} is not paid",
    )
    account = f"/account/{user_id}"
    return [f"/user/{user_id}", account, mails, f"{account}/deposit/{deposited.json()['deposit_id']}", order]


def test_users_read_their_own_data_only(shop: Shop) -> None:
    """The tokens are RFC 9068 access tokens, signed with RS256 and with ES256."""
    ann, bob = shop.user(ANN), shop.user(BOB, "web-ec")

    assert ([200] * 5, [200] * 5) == (shop.statuses(ANN, ann), shop.statuses(BOB, bob))
    assert [403, 403, 403, 403, 404] == shop.statuses(ANN, bob) == shop.statuses(BOB, ann)
    order = {"user_id": shop.id_of(ANN), "items": [TEA]}
    must_be_refused(shop.http.post("/order/create", json=order, headers=bob), 403, "forbidden")


def test_an_operator_reads_all_and_the_payment_provider_deposits(shop: Shop) -> None:
    """The role is in the claim of RFC 9068; client credentials read deposits only."""
    assert [200] * 5 == shop.statuses(ANN, shop.user(BOSS)) == shop.statuses(BOB, shop.user(BOSS, "web-ec"))
    assert [403, 403, 403, 200, 404] == shop.statuses(ANN, shop.payments())


def test_an_address_that_is_not_verified_cannot_register(shop: Shop) -> None:
    """The provider says so in the token."""
    refused = shop.http.post("/user/register", json={"name": "Carol"}, headers=shop.user(CAROL))

    must_be_refused(refused, 403, "forbidden")


def test_a_deposit_needs_the_scope(shop: Shop) -> None:
    """A token of the same client without the scope is 403, and so is an operator's."""
    body = {"user_id": shop.id_of(ANN), "amount_cents": 1}
    for headers in (shop.payments(scope=""), shop.user(ANN), shop.user(BOSS)):
        refused = shop.http.post("/account/deposit", json=body, headers=headers)
        must_be_refused(refused, 403, "forbidden", error="insufficient_scope", scope="deposits")


def test_tokens_of_another_kind_or_audience_are_401(shop: Shop) -> None:
    """An ID token has the client as its audience; an access token for the provider is opaque."""
    mine = shop.provider.user_tokens(ANN, AUDIENCE)
    opaque = shop.provider.user_tokens(ANN, None)["access_token"]
    other = shop.provider.user_tokens(ANN, "https://other.example/api")["access_token"]
    assert (2, 0) == (str(mine["id_token"]).count("."), str(opaque).count("."))

    for headers in (bearer(mine["id_token"]), bearer(opaque), bearer(other), shop.payments(audience=f"{AUDIENCE}/x")):
        refused = shop.http.get(shop.reads[ANN][0], headers=headers)
        must_be_refused(refused, 401, "unauthorized", error="invalid_token")
    assert 200 == shop.status(bearer(mine["access_token"]))


def test_a_token_ends_with_its_time(shop: Shop) -> None:
    """A token of one second counts until the allowed difference of the clocks is over."""
    headers, issued = shop.user(ANN, "web-short"), time.monotonic()
    assert 200 == shop.status(headers)

    shop.system.deadline.until(lambda: shop.status(headers) == 401, SECONDS, lambda: "the token does not end")

    assert time.monotonic() - issued <= 1 + SKEW_SECONDS + 3
    refused = shop.http.get(shop.reads[ANN][0], headers=headers)
    must_be_refused(refused, 401, "unauthorized", error="invalid_token")
    assert "expired" in refused.json()["detail"]


def test_keys_rotate_without_a_restart(shop: Shop) -> None:
    """Old and new keys verify as long as the provider publishes both; a removed key ends."""
    gateway, before = shop.system.processes["gateway"], shop.provider.keys
    first = shop.user(ANN)
    assert 200 == shop.status(first)

    shop.provider.stop()
    newer = new_keys()
    shop.provider.start([*newer, *before])
    second = shop.user(ANN, "web-ec")
    shop.until_known(second)
    assert 200 == shop.status(first)

    shop.provider.stop()
    shop.provider.start([*new_keys(), *newer])
    third = shop.user(ANN)
    shop.until_known(third)

    assert (401, 200, 200) == (shop.status(first), shop.status(second), shop.status(third))
    assert gateway == shop.system.processes["gateway"]


def test_an_outage_stops_no_known_key_and_delays_a_start(shop: Shop) -> None:
    """A gateway with keys serves on; one without keys is not ready and says why, until the provider
    is back.
    """
    used, unused = shop.user(ANN), shop.user(ANN)
    assert 200 == shop.status(used)
    port = shop.system.ports["gateway"]

    shop.provider.stop()
    try:
        ordered = shop.http.post("/order/create", json={"items": [TEA]}, headers=unused)
        assert (200, 201, 200) == (shop.status(used), ordered.status_code, get(port, "/readyz")[0])

        shop.system.stop_app("gateway")
        shop.system.start_app("gateway")
        shop.system.deadline.until(
            lambda: KEYS_UNKNOWN in get(port, "/readyz")[1], SECONDS, lambda: "/readyz does not name the keys"
        )
        waiting = shop.http.get(shop.reads[ANN][0], headers=used)
        assert (503, 503, True) == (get(port, "/readyz")[0], waiting.status_code, "retry-after" in waiting.headers)
    finally:
        shop.provider.start()

    shop.system.wait_ready("gateway")
    assert (200, 200) == (shop.status(used), shop.status(shop.user(ANN)))


def test_the_live_page_needs_an_operator(shop: Shop) -> None:
    """No local issuer runs, so the page has no forms, forwards no calls, and asks for a token."""
    letter = "/dead-letters/user/none/discard"
    with admitted(shop.system.monitor_url) as page:
        page.headers["origin"] = str(page.base_url).rstrip("/")
        shown = page.get("/page").json()
        call = page.post("/api/user/register", json={"name": "Ann", "email": ANN})
        found = [page.post(letter, headers=headers).status_code for headers in ({}, shop.user(ANN), shop.user(BOSS))]

    assert ISSUER not in shop.system.processes
    assert ([], NO_FORMS, True) == (shown["forms"], shown["problem"], shown["asks_token"])
    assert 403 == call.status_code
    assert [401, 403, 409] == found, "409: an operator may, but there is no such letter"


def test_the_commands_name_the_other_issuer(provider: OidcProvider, tmp_path: Path) -> None:
    """`./sidecart run` starts no issuer, and `./sidecart token` makes no token."""
    start = f"OIDC_ISSUER={provider.issuer} OIDC_AUDIENCE={shlex.quote(AUDIENCE)} ./sidecart run"
    with running(tmp_path, start) as shop:
        status, made = shop.run("./sidecart", "status"), shop.run("./sidecart", "token", ANN)
        headers = bearer(provider.user_tokens(ANN, AUDIENCE)["access_token"])
        registered = httpx.post(f"{shop.url}/user/register", json={"name": "Ann"}, headers=headers, trust_env=False)

    names = {line.split(" ")[0] for line in status.stdout.splitlines()}
    assert ("gateway" in names, ISSUER in names) == (True, False), status.stdout
    assert (1, "") == (made.returncode, made.stdout)
    assert "another issuer (OIDC_ISSUER)" in made.stderr
    assert not shop.issuer_folder.exists()
    assert (201, caller_id(provider.issuer, SUBJECTS[ANN])) == (registered.status_code, registered.json()["user_id"])


def test_the_lock_file_contains_no_registry() -> None:
    """Each package has a checksum and no URL, so that npm uses its configured registry."""
    assert len(locked_packages(FOLDER)) > 30
    assert [] == unsafe(FOLDER)
