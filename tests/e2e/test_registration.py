"""The first flow: a user is registered, gets an account, and can be written to."""

from tests.contracts.validate import http_problems
from tests.e2e.shopper import Shopper, new_address


def test_a_registration_is_answered_by_its_event(shopper: Shopper) -> None:
    """201, the location, and the same body to whoever reads it."""
    email = new_address()
    answer = shopper.http.post("/user/register", json={"email": email, "name": "Ann"})
    user = answer.json()

    assert (201, f"/user/{user['user_id']}") == (answer.status_code, answer.headers["location"])
    assert (
        {"user_id": user["user_id"], "email": email, "name": "Ann"} == user == shopper.get(f"/user/{user['user_id']}")
    )
    assert [] == http_problems("user", user)


def test_every_event_of_the_diagram_passes_the_broker(shopper: Shopper) -> None:
    """The command, the fact, and the account that follows from it, all with the command's correlation id."""
    user_id = shopper.register()["user_id"]

    topics = ("UserCreateRequested", "UserCreated", "BillingAccountCreated")
    events = [shopper.event(topic, user_id) for topic in topics]
    assert {events[0]["id"]} == {event["correlationid"] for event in events}


def test_the_account_is_open_and_empty(shopper: Shopper) -> None:
    """Billing opened it on UserCreated."""
    user_id = shopper.register()["user_id"]
    account_id = shopper.event("BillingAccountCreated", user_id)["data"]["account_id"]

    assert {"user_id": user_id, "account_id": account_id, "balance_cents": 0} == shopper.get(f"/account/{user_id}")


def test_the_contact_is_saved(shopper: Shopper) -> None:
    """Notification lists nothing for a new user, but knows him."""
    user_id = shopper.register()["user_id"]
    path = f"/notification/{user_id}"
    shopper.until(lambda: shopper.http.get(path).status_code == 200, "the mailbox")

    assert {"user_id": user_id, "notifications": []} == shopper.get(path)


def test_an_address_that_is_taken_is_refused_however_it_is_written(shopper: Shopper) -> None:
    """Addresses are compared case-folded."""
    email = new_address()
    shopper.register(email=email)

    answer = shopper.http.post("/user/register", json={"email": email.upper(), "name": "Bob"})

    assert (409, "urn:sidecart:problem:email_taken") == (answer.status_code, answer.json()["type"])
    assert [] == http_problems("problem", answer.json())


def test_an_order_and_a_deposit_at_once_after_the_201_of_registration(shopper: Shopper) -> None:
    """The order goes on though Billing and Notification may not know the user yet."""
    user = shopper.register()
    order = shopper.order(user["user_id"])
    deposit = shopper.deposit(user["user_id"], 5_000)

    assert (201, 201) == (order.status_code, 201 if deposit else 0)
    end = shopper.final(order.json()["order_id"])
    left = 5_000 - (900 if end == "OrderPaid" else 0)
    assert left == shopper.balance(user["user_id"])
    assert 1 == len(shopper.wait_for_mails(user["email"], 1))
