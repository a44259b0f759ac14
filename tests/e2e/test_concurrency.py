"""Tests of many concurrent requests: every response is right, and all balances are exact."""

import asyncio
from collections import Counter

import httpx

from tests.e2e.shopper import TEA, TEA_CENTS, Shopper, new_address

USERS = 50
ORDERS_EACH = 4
PAID_EACH = 3
LEFT_CENTS = 100


def test_50_registrations_and_200_orders_at_once(shopper: Shopper) -> None:
    """Each user can pay three of four orders: three are paid, one is not, and each gets a mail."""

    async def send_all() -> tuple[list[httpx.Response], list[httpx.Response], list[httpx.Response]]:
        limits = httpx.Limits(max_connections=USERS * ORDERS_EACH)
        async with shopper.concurrent(limits=limits) as http:
            prefer = {"prefer": "wait=30"}
            bodies = [{"email": new_address(), "name": f"Nr {number}"} for number in range(USERS)]
            users = await asyncio.gather(*(http.post("/user/register", json=body, headers=prefer) for body in bodies))
            ids = [user.json()["user_id"] for user in users]
            money = [{"user_id": each, "amount_cents": PAID_EACH * TEA_CENTS + LEFT_CENTS} for each in ids]
            deposits = await asyncio.gather(
                *(http.post("/account/deposit", json=body, headers=prefer) for body in money)
            )
            orders_to_place = [{"user_id": each, "items": [TEA]} for each in ids for _ in range(ORDERS_EACH)]
            orders = await asyncio.gather(
                *(http.post("/order/create", json=body, headers=prefer) for body in orders_to_place)
            )
            return users, deposits, orders

    users, deposits, orders = asyncio.run(send_all())

    assert {201: USERS} == Counter(each.status_code for each in users)
    assert {201: USERS} == Counter(each.status_code for each in deposits)
    assert {201: USERS * ORDERS_EACH} == Counter(each.status_code for each in orders)
    by_user = Counter(each.json()["user_id"] for each in orders)
    assert {user.json()["user_id"]: ORDERS_EACH for user in users} == by_user
    assert USERS * ORDERS_EACH == len({each.json()["order_id"] for each in orders})

    ends = Counter((each.json()["user_id"], shopper.final(each.json()["order_id"])) for each in orders)
    for user in users:
        user_id, email = user.json()["user_id"], user.json()["email"]
        assert (PAID_EACH, 1) == (ends[user_id, "OrderPaid"], ends[user_id, "OrderNotPaid"])
        assert LEFT_CENTS == shopper.balance(user_id)
        subjects = [mail["subject"] for mail in shopper.wait_for_mails(email, ORDERS_EACH)]
        assert {True: PAID_EACH, False: 1} == Counter(subject.endswith("is paid") for subject in subjects)


def test_100_orders_at_once_against_money_for_37(shopper: Shopper) -> None:
    """Exactly 37 orders are paid; the account ends at zero and never goes below."""
    user = shopper.register()
    shopper.deposit(user["user_id"], 37 * TEA_CENTS)

    async def send_all() -> list[httpx.Response]:
        async with shopper.concurrent() as http:
            body, prefer = {"user_id": user["user_id"], "items": [TEA]}, {"prefer": "wait=30"}
            return await asyncio.gather(*(http.post("/order/create", json=body, headers=prefer) for _ in range(100)))

    answers = asyncio.run(send_all())

    assert {201: 100} == Counter(each.status_code for each in answers)
    ends = Counter(shopper.final(each.json()["order_id"]) for each in answers)
    assert {"OrderPaid": 37, "OrderNotPaid": 63} == ends
    assert 0 == shopper.balance(user["user_id"])
