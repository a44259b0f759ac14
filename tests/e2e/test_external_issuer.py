"""Tests of a shop with another token issuer than the launcher's, configured by OIDC_ISSUER only."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc import jwt

from sidecart.edge.callers import caller_id
from sidecart.edge.issuer_keys import UNKNOWN_KEY_SECONDS
from sidecart.issuer import keys, tokens
from sidecart.issuer.keys import SigningKeys
from sidecart.launcher.lifecycle.plan import ISSUER
from sidecart.launcher.lifecycle.system import System
from sidecart.launcher.topics import GATEWAY
from tests.e2e.attack import Trap
from tests.e2e.conftest import options
from tests.e2e.scene import Removal
from tests.e2e.shopper import SECONDS, TEA

pytestmark = [pytest.mark.own_shop, pytest.mark.sidecars]

AUDIENCE, ROLES_CLAIM = "my-shop", "realm_access.roles"
FLOOD = 40


@dataclass(frozen=True, slots=True)
class Issuer:
    """An issuer with its keys, and the shop that trusts it."""

    server: Trap
    signing: SigningKeys
    shop: System

    def header(self, subject: str, signing: SigningKeys | None = None, **claims: Any) -> dict[str, str]:
        """Return the header of a caller; the issuer does not verify addresses by default."""
        key = (signing or self.signing).newest
        good = {"iss": self.server.url, "aud": AUDIENCE, "sub": subject, "exp": int(time.time()) + 600}
        return {"authorization": f"Bearer {jwt.encode({'alg': 'ES256', 'kid': key.kid}, good | claims, key)}"}


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Issuer]:
    """Start an issuer, and a shop that finds its keys by discovery."""
    signing = keys.load(tmp_path_factory.mktemp("keys"))
    with Trap() as server:
        server.document = signing.public() | {"issuer": server.url, "jwks_uri": f"{server.url}/jwks"}
        env = {"OIDC_ISSUER": server.url, "OIDC_AUDIENCE": AUDIENCE, "OIDC_ROLES_CLAIM": ROLES_CLAIM}
        made = options(tmp_path_factory.mktemp("external-issuer"))
        with System(replace(made, env=env), print) as shop:
            yield Issuer(server, signing, shop)
        server.shutdown()


@pytest.fixture
def http(issuer: Issuer) -> Iterator[httpx.Client]:
    """Return a client that adds no token."""
    with httpx.Client(base_url=issuer.shop.url, timeout=SECONDS, trust_env=False) as client:
        yield client


def test_a_caller_of_another_issuer_registers_and_orders(issuer: Issuer, http: httpx.Client) -> None:
    """The id derives from issuer and subject, and the launcher starts no issuer of its own."""
    ann = issuer.header("ann", email="ann@example.com", email_verified=True)
    user = http.post("/user/register", json={"name": "Ann"}, headers=ann)
    order = http.post("/order/create", json={"items": [TEA]}, headers=ann)

    assert (201, 201) == (user.status_code, order.status_code)
    assert caller_id(issuer.server.url, "ann") == user.json()["user_id"] == order.json()["user_id"]
    assert ISSUER not in issuer.shop.processes
    assert ["/.well-known/openid-configuration", "/jwks"] == issuer.server.asked[:2]


def test_roles_are_in_the_configured_claim(issuer: Issuer, http: httpx.Client) -> None:
    """The usual claim has no effect then."""
    path = f"/user/{caller_id(issuer.server.url, 'ann')}"

    operator = issuer.header("op", realm_access={"roles": ["operator"]})
    usual = issuer.header("op", roles=["operator"])
    assert (200, 403) == tuple(http.get(path, headers=each).status_code for each in (operator, usual))


@pytest.mark.attack("tokens", "a token of another issuer, or for another audience", "token issuer")
def test_tokens_of_the_local_issuer_and_of_another_audience_are_401(
    issuer: Issuer, http: httpx.Client, tmp_path: Path
) -> None:
    """The shop trusts the configured issuer only."""
    local = {"authorization": f"Bearer {tokens.token(keys.load(tmp_path), 'ann@example.com')}"}
    named = issuer.header("ann", iss=tokens.ISSUER)
    other = issuer.header("ann", aud=tokens.AUDIENCE)

    path = f"/user/{caller_id(issuer.server.url, 'ann')}"
    assert [401] * 3 == [http.get(path, headers=each).status_code for each in (local, named, other)]


@pytest.mark.attack("tokens", "a flood of unknown keys against the issuer", "pace of key lookups")
def test_a_flood_of_unknown_keys_asks_the_issuer_rarely(issuer: Issuer, http: httpx.Client, tmp_path: Path) -> None:
    """Tokens with made-up keys cause one question in ten seconds."""
    assert not is_asked_often(issuer, http, tmp_path)


@pytest.mark.mutant("tokens", "a flood of unknown keys against the issuer", "pace of key lookups")
def test_without_the_pace_a_flood_of_unknown_keys_asks_the_issuer_often(
    issuer: Issuer, http: httpx.Client, tmp_path: Path
) -> None:
    """Each token causes a question."""
    removal = Removal(issuer.shop)
    removal.take_out(GATEWAY, "pace-of-key-lookups")
    try:
        assert is_asked_often(issuer, http, tmp_path)
    finally:
        removal.put_back()


def is_asked_often(issuer: Issuer, http: httpx.Client, folder: Path) -> bool:
    """Send tokens with made-up keys; return whether they cause more questions than they may."""
    asked, started = len(issuer.server.asked), time.monotonic()
    forged = [keys.load(folder / str(number)) for number in range(FLOOD)]
    answers = {http.get("/order/x", headers=issuer.header("ann", each)).status_code for each in forged}
    rounds = (len(issuer.server.asked) - asked) / len(("discovery", "keys"))

    assert {401} == answers
    return rounds > 1 + (time.monotonic() - started) / UNKNOWN_KEY_SECONDS
