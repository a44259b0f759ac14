"""Attacks of a caller with a good token, who reaches for what belongs to others."""

from __future__ import annotations

import json
import uuid

import httpx
import pytest

from sidecart.edge.callers import OPERATOR, caller_id
from sidecart.edge.command import key_owner, resource_id
from sidecart.edge.key_secrets import KEY
from sidecart.issuer import keys, tokens
from sidecart.launcher.topics import GATEWAY
from tests.e2e.attack import Eve, Victim, must_be_refused, nothing_published
from tests.e2e.shopper import TEA, Shopper, new_address


def must_be_unknown(answer: httpx.Response, path: str) -> None:
    """Check a response that is the same for a foreign resource and for none."""
    assert (404, "urn:sidecart:problem:not_found") == (answer.status_code, answer.json()["type"])
    assert path in answer.json()["detail"]


def same_as_unknown(shopper: Shopper, eve: Eve, path: str) -> None:
    """Check that the attacker cannot tell a foreign order from an order that does not exist."""
    foreign, stranger = shopper.http.get(path, headers=eve.headers), f"/order/{uuid.uuid4()}"
    unknown = shopper.http.get(stranger, headers=eve.headers)
    must_be_unknown(foreign, path)
    assert foreign.json()["detail"].replace(path, stranger) == unknown.json()["detail"]
    assert foreign.headers.keys() == unknown.headers.keys()


@pytest.mark.attack("other users", "read an order", "owner of an answer")
def test_another_users_order_is_404(shopper: Shopper, victim: Victim, eve: Eve) -> None:
    """The order exists for its owner only."""
    path = f"/order/{victim.order_id}"

    same_as_unknown(shopper, eve, path)
    assert 200 == shopper.http.get(path, headers=shopper.caller(victim.email)).status_code


@pytest.mark.attack("other users", "read a pending order", "owner of a pending command")
def test_another_users_pending_order_is_404(shopper: Shopper, victim: Victim, eve: Eve) -> None:
    """While the order is pending, and after it is placed."""
    shopper.shop.stop_app("order")
    try:
        accepted = shopper.order(victim.user_id, prefer="respond-async")
        path = accepted.headers["location"]
        own = shopper.http.get(path, headers=shopper.caller(victim.email))
        foreign = shopper.http.get(path, headers=eve.headers)
    finally:
        shopper.shop.start_app("order")
    shopper.shop.wait_ready("order")
    shopper.until(lambda: shopper.http.get(path).status_code == 200, "the order")

    assert (202, 202, 404) == (accepted.status_code, own.status_code, foreign.status_code)
    must_be_unknown(foreign, path)
    same_as_unknown(shopper, eve, path)


@pytest.mark.attack("other users", "read a rejected order", "owner of a pending command")
def test_another_users_rejected_order_is_404(shopper: Shopper, victim: Victim, eve: Eve) -> None:
    """The rejection is for its owner only."""
    shopper.shop.stop_app("order")
    try:
        body = {"user_id": victim.user_id, "items": [TEA | {"unit_price_cents": 1}]}
        accepted = shopper.http.post("/order/create", json=body, headers={"prefer": "respond-async"})
    finally:
        shopper.shop.start_app("order")
    shopper.shop.wait_ready("order")
    path = accepted.headers["location"]
    shopper.until(lambda: shopper.http.get(path).status_code != 202, "the rejection")
    own = shopper.http.get(path, headers=shopper.caller(victim.email))

    assert (409, "urn:sidecart:problem:price_changed") == (own.status_code, own.json()["type"])
    same_as_unknown(shopper, eve, path)


@pytest.mark.attack("other users", "read a pending registration", "owner in the path")
def test_another_users_pending_registration_and_deposit_are_403(shopper: Shopper, eve: Eve) -> None:
    """A path that names another caller is refused before anything is looked up."""
    email = new_address()
    stranger = shopper.acting.add(email)
    shopper.shop.stop_app("user")
    try:
        body = {"email": email, "name": "Ann"}
        accepted = shopper.http.post("/user/register", json=body, headers={"prefer": "respond-async"})
        own = shopper.http.get(f"/user/{stranger}", headers=shopper.caller(email))
        foreign = shopper.http.get(f"/user/{stranger}", headers=eve.headers)
    finally:
        shopper.shop.start_app("user")
    shopper.shop.wait_ready("user")

    assert (202, 202) == (accepted.status_code, own.status_code)
    must_be_refused(foreign, 403, "forbidden", error="insufficient_scope")


@pytest.mark.attack("other users", "read data, account, deposit, notifications", "owner in the path")
def test_another_users_account_deposit_notifications_and_data_are_403(
    shopper: Shopper, victim: Victim, eve: Eve
) -> None:
    """The refusal is the same whether the other user exists or not."""
    stranger = str(uuid.uuid4())
    for path in victim.own_paths:
        foreign, unknown = (
            shopper.http.get(each, headers=eve.headers) for each in (path, path.replace(victim.user_id, stranger))
        )
        must_be_refused(foreign, 403, "forbidden", error="insufficient_scope")
        assert foreign.json()["detail"] == unknown.json()["detail"]
        assert 403 == shopper.http.head(path, headers=eve.headers).status_code
        assert 200 == shopper.http.get(path, headers=shopper.caller(victim.email)).status_code


@pytest.mark.attack("other users", "read a deposit below the own account", "owner in the path")
def test_another_users_deposit_is_not_below_the_own_account(shopper: Shopper, victim: Victim, eve: Eve) -> None:
    """The id of a foreign deposit below the own account is 404."""
    path = f"/account/{eve.user_id}/deposit/{victim.deposit_id}"

    must_be_unknown(shopper.http.get(path, headers=eve.headers), path)


@pytest.mark.attack("other users", "order on behalf of another user", "identity of the body")
def test_an_order_on_behalf_of_another_is_403(shopper: Shopper, victim: Victim, eve: Eve) -> None:
    """The victim's money stays, and an operator may not order for others either."""
    body = {"user_id": victim.user_id, "items": [TEA]}
    balance = shopper.balance(victim.user_id)
    with nothing_published(shopper):
        for headers in (eve.headers, shopper.caller(eve.email, roles=(OPERATOR,), scopes=("deposits",))):
            must_be_refused(shopper.http.post("/order/create", json=body, headers=headers), 403, "forbidden")

    assert balance == shopper.balance(victim.user_id)


def test_an_order_without_a_user_id_is_the_callers(shopper: Shopper, victim: Victim, eve: Eve) -> None:
    """The body need not name the caller, and an order never belongs to another one."""
    answer = shopper.http.post("/order/create", json={"items": [TEA]}, headers=eve.headers)

    assert (201, eve.user_id) == (answer.status_code, answer.json()["user_id"])
    assert "OrderNotPaid" == shopper.final(answer.json()["order_id"])


@pytest.mark.attack("other users", "register the address of another user", "identity of the body")
def test_another_users_address_cannot_be_registered(shopper: Shopper, victim: Victim, eve: Eve) -> None:
    """Neither a registered address nor a free one: mails would go to it."""
    with nothing_published(shopper):
        for email in (victim.email, new_address()):
            body = {"email": email, "name": "Eve"}
            answer = shopper.http.post("/user/register", json=body, headers=eve.headers)
            must_be_refused(answer, 403, "forbidden")


@pytest.mark.attack("other users", "register an address that is not verified", "verified address")
@pytest.mark.parametrize("verified", [False, None, "true", 1])
def test_an_address_that_is_not_verified_cannot_be_registered(
    shopper: Shopper, anonymous: httpx.Client, victim: Victim, verified: object
) -> None:
    """The claim email_verified must be true: the issuer checked the address."""
    email = new_address()
    token = victim.forger.good(sub=email, email=email, email_verified=verified)
    with nothing_published(shopper):
        for body in ({"email": email, "name": "Eve"}, {"name": "Eve"}):
            headers = {"authorization": f"Bearer {token}"}
            must_be_refused(anonymous.post("/user/register", json=body, headers=headers), 403, "forbidden")


@pytest.mark.attack("other users", "another subject with the same address", "identity of the body")
def test_an_address_that_belongs_to_another_subject_gives_no_access(shopper: Shopper, victim: Victim) -> None:
    """The caller is the subject, not the address: the same address of another subject is another
    caller.
    """
    another = shopper.as_another(victim.email)
    assert victim.user_id == caller_id(tokens.ISSUER, tokens.subject_of(victim.email))

    same = {path: shopper.http.get(path, headers=another).status_code for path in victim.reads}
    assert dict.fromkeys(victim.own_paths, 403) | {f"/order/{victim.order_id}": 404} == same
    body = {"user_id": victim.user_id, "items": [TEA]}
    must_be_refused(shopper.http.post("/order/create", json=body, headers=another), 403, "forbidden")


@pytest.mark.attack("other users", "deposit without the scope", "scope of a command")
@pytest.mark.parametrize("scopes", [(), ("deposit",), ("deposits2", "xdeposits"), ("DEPOSITS",), ("deposits,x",)])
@pytest.mark.parametrize("roles", [(), (OPERATOR,), ("deposits",)])
def test_a_deposit_without_the_scope_is_403(
    shopper: Shopper, victim: Victim, scopes: tuple[str, ...], roles: tuple[str, ...]
) -> None:
    """Neither an operator nor the user itself pays money in, and the challenge names the scope."""
    body = {"user_id": victim.user_id, "amount_cents": 1_000_000}
    balance = shopper.balance(victim.user_id)
    headers = shopper.caller(victim.email, roles=roles, scopes=scopes)
    with nothing_published(shopper):
        answer = shopper.http.post("/account/deposit", json=body, headers=headers)

    must_be_refused(answer, 403, "forbidden", error="insufficient_scope", scope="deposits")
    assert balance == shopper.balance(victim.user_id)


@pytest.mark.attack("other users", "read other data as the payment provider", "owner in the path")
def test_a_payment_provider_reads_deposits_only(shopper: Shopper, victim: Victim) -> None:
    """The scope opens deposits, and nothing else of the user."""
    provider = shopper.caller("provider@example.com", scopes=("deposits",))
    deposit = f"/account/{victim.user_id}/deposit/{victim.deposit_id}"

    found = {path: shopper.http.get(path, headers=provider).status_code for path in victim.reads}
    expected = dict.fromkeys(victim.own_paths, 403) | {deposit: 200, f"/order/{victim.order_id}": 404}
    assert expected == found


@pytest.mark.attack("other users", "read with a role that resembles operator", "owner in the path")
@pytest.mark.parametrize("roles", [("operators",), ("Operator",), ("xoperator",), ("admin", "user")])
def test_another_role_is_no_operator(shopper: Shopper, victim: Victim, eve: Eve, roles: tuple[str, ...]) -> None:
    """Only the exact word opens everything."""
    headers = shopper.caller(eve.email, roles=roles)

    found = {path: shopper.http.get(path, headers=headers).status_code for path in victim.reads}
    assert dict.fromkeys(victim.own_paths, 403) | {f"/order/{victim.order_id}": 404} == found


def test_an_operator_reads_all(shopper: Shopper, victim: Victim) -> None:
    """An operator need not be a user of the shop."""
    headers = shopper.caller(new_address(), roles=(OPERATOR,))

    assert {200} == {shopper.http.get(path, headers=headers).status_code for path in victim.reads}


@pytest.mark.attack("other users", "use the Idempotency-Key of another user", "owner of a key")
def test_another_users_key_gives_another_resource(shopper: Shopper, victim: Victim, eve: Eve) -> None:
    """A key belongs to its caller: the same key of another caller is another request, and shows
    nothing of the first one.
    """
    key = {"idempotency-key": uuid.uuid4().hex}
    first = shopper.order(victim.user_id, **key)
    own = shopper.http.post("/order/create", json={"items": [TEA]}, headers=eve.headers | key)
    other = shopper.http.post(
        "/order/create", json={"items": [TEA | {"quantity": 1}]}, headers=shopper.caller(new_address()) | key
    )
    stolen = {"user_id": victim.user_id, "items": [TEA]}
    refused = shopper.http.post("/order/create", json=stolen, headers=eve.headers | key)
    again = shopper.order(victim.user_id, **key)

    assert (201, 201, 404, 201) == (first.status_code, own.status_code, other.status_code, again.status_code)
    assert first.json()["order_id"] == again.json()["order_id"] != own.json()["order_id"]
    assert (victim.user_id, eve.user_id) == (first.json()["user_id"], own.json()["user_id"])
    must_be_refused(refused, 403, "forbidden")


@pytest.mark.attack("other users", "compute the id of another user's key", "secret of the key ids")
def test_the_id_of_a_key_cannot_be_computed(shopper: Shopper, eve: Eve) -> None:
    """The id depends on a secret of the gateway, not only on what a caller knows: another caller
    can neither compute it nor probe for it.
    """
    key = uuid.uuid4().hex
    order_id = shopper.order(eve.user_id, **{"idempotency-key": key}).json()["order_id"]

    public = json.dumps(keys.load(shopper.shop.issuer_folder).public())
    known = ("", "secret", tokens.AUDIENCE, tokens.ISSUER, public, eve.user_id, eve.email, key, "/order/create")
    owner, secret = key_owner(eve.user_id, eve.user_id), shopper.state(GATEWAY, KEY).json()["current"]
    guesses = {resource_id(guess.encode(), "/order/create", owner, key) for guess in known}
    assert 8 == uuid.UUID(order_id).version
    assert order_id == resource_id(bytes.fromhex(secret), "/order/create", owner, key)
    assert order_id not in guesses
