"""Attacks with tokens that are not good: forged, expired, for others, sent in another way."""

from __future__ import annotations

import httpx
import pytest

from sidecart.edge.token_verifier import SKEW_SECONDS
from tests.contracts.validate import http_problems
from tests.e2e.attack import Victim, must_be_refused, nothing_published
from tests.e2e.forgery import ACCEPTED, BEARER, HEADERS
from tests.e2e.shopper import TEA, Shopper

Headers = dict[str, str] | list[tuple[str, str]] | list[tuple[bytes, bytes]]


def try_everything(http: httpx.Client, victim: Victim, headers: Headers) -> list[httpx.Response]:
    """Send every command and every read of the victim's resources with these headers."""
    answers = [http.post(path, json=body, headers=headers) for path, body in victim.commands.items()]
    answers += [http.get(path, headers=headers) for path in victim.reads]
    return [*answers, http.head(f"/order/{victim.order_id}", headers=headers)]


@pytest.mark.attack("tokens", "a token that is forged, expired, or for others", "token signature")
@pytest.mark.parametrize("attack", BEARER)
def test_a_token_that_is_not_good_is_401(
    shopper: Shopper, anonymous: httpx.Client, victim: Victim, attack: str
) -> None:
    """No command and no read is served, nothing is published, and the attacker's server is not
    asked.
    """
    sent = b"Bearer " + BEARER[attack](victim.forger).encode("latin-1")
    with nothing_published(shopper):
        *answers, head = try_everything(anonymous, victim, [(b"authorization", sent)])

    assert (401, b"") == (head.status_code, head.content)
    for answer in answers:
        must_be_refused(answer, 401, "unauthorized")
        assert 'error="invalid_' in answer.headers["www-authenticate"]
    assert [] == victim.asked


@pytest.mark.attack("tokens", "a token in another form, in another place, or sent twice", "place of a token")
@pytest.mark.parametrize("attack", HEADERS)
def test_a_request_without_one_bearer_token_is_401(
    shopper: Shopper, anonymous: httpx.Client, victim: Victim, attack: str
) -> None:
    """A token in another place, in another form or sent twice is no token."""
    with nothing_published(shopper):
        *answers, head = try_everything(anonymous, victim, HEADERS[attack](victim.forger))

    assert 401 == head.status_code
    for answer in answers:
        must_be_refused(answer, 401, "unauthorized")


@pytest.mark.attack("tokens", "a token in the query", "place of a token")
def test_a_token_in_the_query_is_no_token(anonymous: httpx.Client, victim: Victim) -> None:
    """The gateway reads no token from an address, which logs and histories keep."""
    answer = anonymous.get(f"/order/{victim.order_id}?access_token={victim.forger.good()}")

    must_be_refused(answer, 401, "unauthorized")


@pytest.mark.parametrize("form", ACCEPTED)
def test_a_good_token_is_accepted(anonymous: httpx.Client, victim: Victim, form: str) -> None:
    """The same calls with a good token are served, so the attacks fail because of their defect."""
    headers = {"authorization": f"Bearer {ACCEPTED[form](victim.forger)}"}
    body = {"items": [TEA]}

    assert {200} == {anonymous.get(path, headers=headers).status_code for path in victim.reads}
    assert 201 == anonymous.post("/order/create", json=body, headers=headers).status_code


def test_the_scheme_is_compared_without_its_case(anonymous: httpx.Client, victim: Victim) -> None:
    """`bearer` and `BEARER` are the scheme too (RFC 9110, section 11.1)."""
    for scheme in ("bearer", "BEARER"):
        headers = {"authorization": f"{scheme} {victim.forger.good()}"}
        assert 200 == anonymous.get(f"/order/{victim.order_id}", headers=headers).status_code


@pytest.mark.attack("tokens", "a token that was accepted before it expired", "token expiry")
def test_a_known_token_ends_with_its_time(shopper: Shopper, anonymous: httpx.Client, victim: Victim) -> None:
    """The gateway remembers verified tokens, but not beyond their end."""
    headers = {"authorization": f"Bearer {victim.forger.ended(SKEW_SECONDS - 3)}"}
    path = f"/order/{victim.order_id}"

    assert 200 == anonymous.get(path, headers=headers).status_code
    shopper.until(lambda: anonymous.get(path, headers=headers).status_code == 401, "the end of the token")


def test_only_public_paths_need_no_token(anonymous: httpx.Client) -> None:
    """The products, the documents and the health of the gateway are public."""
    listed = anonymous.get("/products")

    assert 200 == listed.status_code
    assert [] == http_problems("products", listed.json())
    assert TEA["unit_price_cents"] == next(
        each["unit_price_cents"] for each in listed.json()["products"] if each["sku"] == TEA["sku"]
    )
    for path in ("/healthz", "/readyz", "/openapi.json", "/asyncapi.json", "/docs"):
        assert 200 == anonymous.get(path).status_code
