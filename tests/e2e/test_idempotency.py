"""Tests of repeated requests: the same request gives the same resource, and another body is
rejected.
"""

import asyncio
import uuid

import httpx

from tests.e2e.shopper import TEA, TEA_CENTS, Shopper, new_address

CLIENTS = 20


def test_one_key_from_20_clients_at_once_is_one_order(shopper: Shopper) -> None:
    """All clients get the same 201, and money is taken once."""
    user_id = shopper.register()["user_id"]
    shopper.deposit(user_id, 50_000)
    headers = {"idempotency-key": uuid.uuid4().hex}

    async def clients() -> list[httpx.Response]:
        async with shopper.concurrent() as http:
            body = {"user_id": user_id, "items": [TEA]}
            return await asyncio.gather(
                *(http.post("/order/create", json=body, headers=headers) for _ in range(CLIENTS))
            )

    answers = asyncio.run(clients())

    assert {201} == {answer.status_code for answer in answers}
    assert 1 == len({answer.text for answer in answers})
    order_id = answers[0].json()["order_id"]
    assert "OrderPaid" == shopper.final(order_id)
    later = shopper.order(user_id)  # this order completes after all repetitions of the first one
    assert "OrderPaid" == shopper.final(later.json()["order_id"])
    assert 50_000 - 2 * TEA_CENTS == shopper.balance(user_id)
    assert 1 == len(
        {
            one.event["id"]
            for one in shopper.tap.seen
            if one.topic == "OrderPaid" and one.event.get("subject") == order_id
        }
    )


def test_the_same_key_later_gets_the_first_answer(shopper: Shopper) -> None:
    """A repetition after the payment still gets the 201 of the first request."""
    user_id = shopper.register()["user_id"]
    shopper.deposit(user_id, 50_000)
    key = uuid.uuid4().hex
    first = shopper.order(user_id, **{"idempotency-key": key})
    shopper.final(first.json()["order_id"])

    again = shopper.order(user_id, **{"idempotency-key": key})

    assert (201, first.json(), first.headers["location"]) == (
        again.status_code,
        again.json(),
        again.headers["location"],
    )
    assert 50_000 - TEA_CENTS == shopper.balance(user_id)


def test_another_body_under_the_same_key_is_422_on_every_call(shopper: Shopper) -> None:
    """The first resource stays unchanged."""
    user_id = shopper.register()["user_id"]
    headers = {"idempotency-key": uuid.uuid4().hex}
    bodies = {
        "/account/deposit": [{"user_id": user_id, "amount_cents": cents} for cents in (50, 60)],
        "/order/create": [{"user_id": user_id, "items": [TEA | {"quantity": quantity}]} for quantity in (1, 2)],
    }
    for path, (body, other) in bodies.items():
        answers = [shopper.http.post(path, json=each, headers=headers) for each in (body, other, body)]

        assert [201, 422, 201] == [answer.status_code for answer in answers]
        assert "urn:sidecart:problem:key_reused" == answers[1].json()["type"]
        assert answers[0].json() == answers[2].json()
    assert 50 == shopper.balance(user_id)


def test_a_keyed_registration_can_be_repeated_but_not_changed(shopper: Shopper) -> None:
    """A repetition with another name is rejected, because the name is part of the body."""
    headers = {"idempotency-key": uuid.uuid4().hex}
    email = f"{uuid.uuid4().hex}@example.com"
    bodies = [{"email": email, "name": name} for name in ("Ann", "Ann", "Anna")]

    answers = [shopper.http.post("/user/register", json=body, headers=headers) for body in bodies]

    assert [201, 201, 422] == [answer.status_code for answer in answers]
    assert answers[0].json() == answers[1].json()


def test_a_key_of_a_payment_provider_is_one_deposit_of_each_user(shopper: Shopper) -> None:
    """One key for two users is two deposits, and each has its record."""
    ann, bob = (shopper.register()["user_id"] for _ in range(2))
    shopper.event("BillingAccountCreated", bob)
    headers = {"idempotency-key": uuid.uuid4().hex}
    bodies = [{"user_id": user_id, "amount_cents": 50} for user_id in (ann, bob, ann)]

    answers = [shopper.http.post("/account/deposit", json=body, headers=headers) for body in bodies]

    assert [201, 201, 201] == [answer.status_code for answer in answers]
    assert answers[0].json() == answers[2].json() != answers[1].json()
    assert (50, 50) == (shopper.balance(ann), shopper.balance(bob))


def test_one_key_of_two_providers_is_two_deposits(shopper: Shopper) -> None:
    """Providers do not share their keys."""
    user_id, key = shopper.register()["user_id"], {"idempotency-key": uuid.uuid4().hex}
    body = {"user_id": user_id, "amount_cents": 50}
    providers = [shopper.caller(f"{uuid.uuid4().hex}@pay.example", scopes=("deposits",)) for _ in range(2)]

    answers = [shopper.http.post("/account/deposit", json=body, headers=each | key) for each in providers * 2]

    assert {201} == {answer.status_code for answer in answers}
    assert 2 == len({answer.json()["deposit_id"] for answer in answers})
    assert 100 == shopper.balance(user_id)


def test_a_registration_is_its_callers_with_any_key_and_without(shopper: Shopper) -> None:
    """A caller is one user: a repetition with another key, or with none, is the same user."""
    body = {"email": new_address(), "name": "Ann"}
    keys: list[dict[str, str]] = [{}, {"idempotency-key": "a"}, {"idempotency-key": "b"}, {}]

    answers = [shopper.http.post("/user/register", json=body, headers=key) for key in keys]

    assert {(201, answers[0].text)} == {(answer.status_code, answer.text) for answer in answers}
