"""Tests of the third flow: an erased user leaves no address in any record, and never returns."""

from __future__ import annotations

import json
import uuid
from typing import Any

import httpx
import pytest

from sidecart.launcher.dead_letters import Filter, find_dead_letters
from sidecart.launcher.running_state import RunningState
from sidecart.testkit.contents import records
from tests.contracts.validate import http_problems
from tests.e2e.shopper import TEA_CENTS, Shopper, new_address
from tests.e2e.test_dead_letters import event

pytestmark = [
    pytest.mark.sidecars,
    pytest.mark.not_on_kubernetes("reads the records and the log files of the launcher's servers"),
]


def erase(shopper: Shopper, user: dict[str, Any], **headers: str) -> httpx.Response:
    """Erase a user, as the user."""
    return shopper.http.delete(f"/user/{user['user_id']}", headers=shopper.caller(user["email"]) | headers)


def erased_everywhere(shopper: Shopper, user_id: str) -> bool:
    """Return whether each service has processed the erasure."""
    found = [
        shopper.state(app, f"{kind}:{user_id}") for app, kind in (("billing", "account"), ("notification", "mailbox"))
    ]
    return all(each.status_code == 200 and each.json()["state"].get("erased") for each in found)


def wait_until_erased(shopper: Shopper, user_id: str) -> None:
    """Wait until each service has processed the erasure."""
    shopper.until(lambda: erased_everywhere(shopper, user_id), "the erasure in all services")


def with_address(shopper: Shopper, address: str) -> list[str]:
    """Return the keys of the records that have an address in their key or value."""
    return [key for key, value in records(shopper.shop) if address in key or address.encode() in value]


def test_an_erased_user_leaves_no_address(shopper: Shopper) -> None:
    """The search finds the address before, and in no record after the erasure; the books stay."""
    user = shopper.register()
    user_id, email = user["user_id"], user["email"]
    shopper.deposit(user_id, 2 * TEA_CENTS)
    order_id = shopper.order(user_id).json()["order_id"]
    assert "OrderPaid" == shopper.final(order_id)
    shopper.wait_for_mails(email, 1)
    assert len(with_address(shopper, email)) >= 3

    answer = erase(shopper, user)

    assert (200, {"user_id": user_id, "status": "erased"}) == (answer.status_code, answer.json())
    assert [] == http_problems("erased", answer.json())
    wait_until_erased(shopper, user_id)
    shopper.until(lambda: with_address(shopper, email) == [], "records without the address")
    assert [] == [log.name for log in shopper.shop.logs.glob("*.log") if email.encode() in log.read_bytes()]
    operator = shopper.caller("operator@example.com", roles=("operator",))
    assert TEA_CENTS == shopper.http.get(f"/account/{user_id}", headers=operator).json()["balance_cents"]
    assert "paid" == shopper.http.get(f"/order/{order_id}", headers=operator).json()["status"]


def test_an_erasure_is_idempotent_and_final(shopper: Shopper) -> None:
    """A repetition is the same command; the user is gone, and may not register again."""
    user = shopper.register()
    user_id = user["user_id"]

    answers = [erase(shopper, user) for _ in range(2)]

    assert [200, 200] == [each.status_code for each in answers]
    own = shopper.caller(user["email"])
    gone = shopper.http.get(f"/user/{user_id}", headers=own)
    assert (404, []) == (gone.status_code, http_problems("problem", gone.json()))
    again = shopper.http.post("/user/register", json={"email": user["email"], "name": "Ann"}, headers=own)
    assert (409, "urn:sidecart:problem:erased") == (again.status_code, again.json()["type"])
    assert 404 == shopper.order(user_id, **own).status_code


def test_the_address_is_free_for_another_user(shopper: Shopper) -> None:
    """A new account of the token issuer registers with the same address."""
    user = shopper.register()
    erase(shopper, user)

    answer = shopper.http.post(
        "/user/register", json={"email": user["email"], "name": "Ann"}, headers=shopper.as_another(user["email"])
    )

    assert 201 == answer.status_code
    assert user["user_id"] != answer.json()["user_id"]
    # A repeated erasure of the first user changes nothing for the second one.
    assert 200 == erase(shopper, user).status_code
    another = shopper.as_another(user["email"])
    assert 200 == shopper.http.get(f"/user/{answer.json()['user_id']}", headers=another).status_code


def test_a_late_event_brings_nothing_back(shopper: Shopper) -> None:
    """A UserCreated that arrives after the erasure changes no record."""
    user = shopper.register()
    created = shopper.event("UserCreated", user["user_id"])
    erase(shopper, user)
    wait_until_erased(shopper, user["user_id"])

    shopper.tap.publish("UserCreated", json.dumps(created).encode())
    shopper.event("BillingAccountCreated", user["user_id"])
    marker = shopper.register()
    shopper.until(lambda: shopper.state("notification", f"mailbox:{marker['user_id']}").status_code == 200, "a mailbox")

    assert erased_everywhere(shopper, user["user_id"])
    assert [] == with_address(shopper, user["email"])


def test_a_dead_letter_of_the_user_loses_its_event(shopper: Shopper) -> None:
    """A malformed UserCreated became a dead letter at two services."""
    user = shopper.register()
    malformed = event("UserCreated", {"user_id": user["user_id"], "email": [user["email"]], "name": 1})
    shopper.tap.publish("UserCreated", json.dumps(malformed | {"subject": user["user_id"]}).encode())
    state, letter = RunningState(shopper.shop.ports, shopper.shop.tokens), Filter((malformed["id"],), settled=True)
    shopper.until(lambda: bool(list(find_dead_letters(state, letter))), "the dead letter")

    erase(shopper, user)

    shopper.until(lambda: {each.status for each in find_dead_letters(state, letter)} == {"erased"}, "an erased letter")
    assert {""} == {each.event for each in find_dead_letters(state, letter)}
    shopper.until(lambda: with_address(shopper, user["email"]) == [], "records without the address")


def test_dead_letters_in_other_spellings_lose_their_events(shopper: Shopper) -> None:
    """The id is in upper case or escaped, past the end of what is stored, or missing."""
    user, other = shopper.register(), shopper.register()
    user_id, wrong = user["user_id"], {"email": [user["email"]], "name": 1}
    escaped = "".join(f"\\u{ord(each):04x}" for each in user_id)
    datas = [
        {"user_id": user_id.upper(), **wrong},
        {"user_id": "escaped", **wrong},
        {**wrong, "more": "x" * 2**20, "user_id": user_id},
        wrong,
    ]
    events = [event("UserCreated", data) | {"subject": ""} for data in datas]
    of_another = event("UserCreated", {"user_id": other["user_id"], "email": [other["email"]], "name": 1})
    state = RunningState(shopper.shop.ports, shopper.shop.tokens)
    for each in (*events, of_another):
        shopper.tap.publish("UserCreated", json.dumps(each).replace('"escaped"', f'"{escaped}"').encode())
    ids = tuple(each["id"] for each in events)
    # billing accepts some of them, because it reads neither address nor name
    letters = Filter(ids, "notification", settled=True)
    kept = Filter((of_another["id"],), "notification", settled=True)
    shopper.until(lambda: len(list(find_dead_letters(state, letters))) == len(ids), "the dead letters")
    shopper.until(lambda: any(find_dead_letters(state, kept)), "the dead letter of the other")

    erase(shopper, user)

    shopper.until(lambda: {each.event for each in find_dead_letters(state, letters)} == {""}, "erased letters")
    shopper.until(lambda: with_address(shopper, user["email"]) == [], "records without the address")
    assert {"open"} == {each.status for each in find_dead_letters(state, kept)}


def test_only_the_user_and_operators_may_erase_and_export(shopper: Shopper) -> None:
    """Another caller gets 403; an unknown user is 404 for an operator."""
    user = shopper.register()
    path, other = f"/user/{user['user_id']}", shopper.caller(new_address())
    operator = shopper.caller("operator@example.com", roles=("operator",))

    assert 403 == shopper.http.delete(path, headers=other).status_code
    assert 403 == shopper.http.get(f"{path}/export", headers=other).status_code
    assert 404 == shopper.http.delete(f"/user/{uuid.uuid4()}", headers=operator).status_code
    assert 200 == shopper.http.get(f"{path}/export", headers=operator).status_code
    assert 200 == shopper.http.delete(path, headers=operator).status_code


def test_an_export_has_the_parts_of_all_services(shopper: Shopper) -> None:
    """The document has the user, the account and the orders that ended; an erased user has none."""
    user = shopper.register()
    user_id, own = user["user_id"], shopper.caller(user["email"])
    shopper.deposit(user_id, TEA_CENTS)
    order_id = shopper.order(user_id).json()["order_id"]
    shopper.final(order_id)
    shopper.wait_for_mails(user["email"], 1)

    exported = shopper.http.get(f"/user/{user_id}/export", headers=own).json()

    assert [] == http_problems("export", exported)
    assert user == exported["user"]
    assert (user_id, 0) == (exported["user_id"], exported["billing"]["balance_cents"])
    assert [order_id] == [each["order_id"] for each in exported["notification"]["notifications"]]
    erase(shopper, user)
    assert 404 == shopper.http.get(f"/user/{user_id}/export", headers=own).status_code


def test_an_erasure_can_be_pending(shopper: Shopper) -> None:
    """The 202 names the user, whose read answers 404 at the end."""
    user = shopper.register()
    own = shopper.caller(user["email"])

    answer = erase(shopper, user, prefer="respond-async")

    assert answer.status_code in (200, 202)
    assert f"/user/{user['user_id']}" == answer.headers["location"]
    assert [] == http_problems("accepted" if answer.status_code == 202 else "erased", answer.json())
    location = answer.headers["location"]
    shopper.until(lambda: shopper.http.get(location, headers=own).status_code == 404, "the end of the erasure")
