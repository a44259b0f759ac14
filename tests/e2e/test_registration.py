"""Tests of the first flow: a registered user gets an account and a contact record."""

from tests.contracts.validate import http_problems
from tests.e2e.shopper import Shopper, new_address


def test_a_registration_is_answered_by_its_event(shopper: Shopper) -> None:
    """The 201 has a location, and its body equals the body of a later read."""
    email = new_address()
    answer = shopper.http.post("/user/register", json={"email": email, "name": "Ann"})
    user = answer.json()

    assert (201, f"/user/{user['user_id']}") == (answer.status_code, answer.headers["location"])
    assert (
        {"user_id": user["user_id"], "email": email, "name": "Ann"} == user == shopper.get(f"/user/{user['user_id']}")
    )
    assert [] == http_problems("user", user)


def test_every_event_of_the_diagram_passes_the_broker(shopper: Shopper) -> None:
    """The command, the event and the account event all have the command's correlation id."""
    user_id = shopper.register()["user_id"]

    topics = ("UserCreateRequested", "UserCreated", "BillingAccountCreated")
    events = [shopper.event(topic, user_id) for topic in topics]
    assert {events[0]["id"]} == {event["correlationid"] for event in events}


def test_the_account_is_open_and_empty(shopper: Shopper) -> None:
    """Billing opens an account on UserCreated."""
    user_id = shopper.register()["user_id"]
    account_id = shopper.event("BillingAccountCreated", user_id)["data"]["account_id"]

    assert {"user_id": user_id, "account_id": account_id, "balance_cents": 0} == shopper.get(f"/account/{user_id}")


def test_the_contact_is_saved(shopper: Shopper) -> None:
    """Notification knows a new user, with an empty list."""
    user_id = shopper.register()["user_id"]
    path = f"/notification/{user_id}"
    shopper.until(lambda: shopper.http.get(path).status_code == 200, "the mailbox")

    assert {"user_id": user_id, "notifications": []} == shopper.get(path)


def test_a_taken_address_is_rejected_in_any_case(shopper: Shopper) -> None:
    """The User Service compares addresses case-folded."""
    email = new_address()
    shopper.register(email=email)

    another = shopper.as_another(email.upper())
    answer = shopper.http.post("/user/register", json={"email": email.upper(), "name": "Bob"}, headers=another)

    assert (409, "urn:sidecart:problem:email_taken") == (answer.status_code, answer.json()["type"])
    assert [] == http_problems("problem", answer.json())


def test_an_order_and_a_deposit_right_after_the_registration(shopper: Shopper) -> None:
    """The order completes although Billing and Notification may not know the user yet."""
    user = shopper.register()
    order = shopper.order(user["user_id"])
    deposit = shopper.deposit(user["user_id"], 5_000)

    assert (201, 201) == (order.status_code, 201 if deposit else 0)
    end = shopper.final(order.json()["order_id"])
    expected = 5_000 - (900 if end == "OrderPaid" else 0)
    assert expected == shopper.balance(user["user_id"])
    assert 1 == len(shopper.wait_for_mails(user["email"], 1))
