"""The shop's invariants in a simulated world at rest, whatever faults happened before.

They cover what the shop promises its callers. The invariants of every service are in
`sidecart.testkit.simulation.checks`; a further service needs no line here until it promises more.
"""

from __future__ import annotations

from collections.abc import Iterator

from services.notification.email_templates import email, order_outcome
from sidecart.chassis.currency import Currency
from sidecart.testkit.simulation.checks import events_of, secondary, state
from sidecart.testkit.simulation.world import World
from tests.simulation.scenario import Scenario

AFTER_CREATION = ("OrderCreated", "OrderPaymentRequested", "OrderPaid", "OrderNotPaid")


def problems(world: World, scenario: Scenario) -> Iterator[str]:
    """Yield all violations of the invariants, one line each."""
    yield from _users(world, scenario)
    yield from _money(world, scenario)
    yield from _orders(world, scenario)
    yield from _mails(world, scenario)
    yield from _erasures(world, scenario)


def _users(world: World, scenario: Scenario) -> Iterator[str]:
    for user_id in scenario.user_ids:
        if not secondary(world, "user", f"user:{user_id}"):
            yield f"user {user_id} cannot be read"
        if user_id in scenario.erased:
            continue
        accounts = {event["data"]["account_id"] for event in events_of(world, "BillingAccountCreated", user_id)}
        # No service consumes this event, so a broker that loses everything can lose it
        # (docs/explanation/delivery-guarantees.md).
        is_announced = bool(accounts) or (world.wipes > 0 and state(world, "billing", f"account:{user_id}") is not None)
        if len(accounts) > 1 or not is_announced:
            yield f"user {user_id} has the accounts {sorted(accounts)}"
    winners = [each for each in scenario.clashing_ids if events_of(world, "UserCreated", each)]
    if scenario.clashing_ids and len(winners) != 1:
        yield f"one address, and the users {winners}"


def _money(world: World, scenario: Scenario) -> Iterator[str]:
    for user_id in scenario.user_ids:
        deposited = {
            event["subject"]: event["data"]["amount_cents"]
            for event in world.announced.get("AccountDeposited", ())
            if event["data"]["user_id"] == user_id
        }
        paid = {
            event["subject"]: secondary(world, "billing", f"payment:{event['subject']}")
            for event in world.published["OrderPaymentCreated"]
            if event["data"]["user_id"] == user_id
        }
        spent = sum(payment["amount_cents"] for payment in paid.values() if payment)
        balance = (state(world, "billing", f"account:{user_id}") or {}).get("balance_cents")
        if balance is None or balance != sum(deposited.values()) - spent or balance < 0:
            yield f"user {user_id} has {balance}: paid in {sum(deposited.values())}, spent {spent}"


def _orders(world: World, scenario: Scenario) -> Iterator[str]:
    for order_id in scenario.order_ids:
        order = state(world, "order", f"order:{order_id}") or {}
        payment = secondary(world, "billing", f"payment:{order_id}") or {}
        if order.get("status") == "rejected":
            consequences = {topic for topic in AFTER_CREATION if events_of(world, topic, order_id)}
            if consequences or payment:
                yield f"order {order_id} is rejected, but {sorted(consequences)} and {payment}"
            continue
        ends = {topic for topic in ("OrderPaid", "OrderNotPaid") if events_of(world, topic, order_id)}
        output = {topic for topic in ("OrderPaymentCreated", "OrderPaymentFailed") if events_of(world, topic, order_id)}
        is_paid = order.get("status") == "paid"
        expected = ({"OrderPaid"}, {"OrderPaymentCreated"}) if is_paid else ({"OrderNotPaid"}, {"OrderPaymentFailed"})
        if order.get("status") not in ("paid", "not_paid") or (ends, output) != expected:
            yield f"order {order_id} is {order.get('status')}, but {sorted(output)} and {sorted(ends)}"
        if payment.get("amount_cents") != order.get("amount_cents") or bool(payment.get("reason")) == is_paid:
            yield f"order {order_id}: {order} and {payment} do not agree"


def order_user(world: World, order_id: str) -> str:
    """Return the user of an order."""
    return str((state(world, "order", f"order:{order_id}") or {}).get("user_id"))


def _erasures(world: World, scenario: Scenario) -> Iterator[str]:
    """No record holds the address of an erased user, and no service forgot the erasure."""
    for user_id, address in scenario.erased.items():
        if not (secondary(world, "user", f"user:{user_id}") or {}).get("erased"):
            yield f"user {user_id} is not erased"
        for app, key in (("billing", "account"), ("notification", "mailbox")):
            if not (state(world, app, f"{key}:{user_id}") or {}).get("erased"):
                yield f"user {user_id} is not erased at {app}"
        for app, store in world.stores.items():
            found = [key for key, (value, _) in store.items() if address in key or address.encode() in value]
            if found:
                yield f"the address of the erased user {user_id} is in {found} of {app}"
    yield from _returned(world, scenario)
    for order_id in scenario.order_ids:
        note = secondary(world, "notification", f"order:{order_id}")
        if note is None and (state(world, "order", f"order:{order_id}") or {}).get("status") != "rejected":
            yield f"order {order_id} was not saved by notification"


def _returned(world: World, scenario: Scenario) -> Iterator[str]:
    """No record gets the address again after its erasure, not even for a moment."""
    erased = set()
    for app, key, value in world.writes:
        address = scenario.erased.get(key.partition(":")[2])
        if address is None or app == "gateway":
            continue
        if key in erased and address.encode() in value:
            yield f"{app} {key} has the address again"
        if b'"erased":true' in value:
            erased.add(key)


def _mails(world: World, scenario: Scenario) -> Iterator[str]:
    for order_id in scenario.order_ids:
        if (state(world, "order", f"order:{order_id}") or {}).get("status") == "rejected":
            continue
        if order_user(world, order_id) in scenario.erased:
            continue
        message_id = email(order_id, "a@b.c", order_outcome(order_id, (), 0), Currency()).message_id
        notification = secondary(world, "notification", f"notification:{order_id}") or {}
        if not world.side_effects[message_id] or not notification.get("sent_at"):
            yield f"order {order_id}: {world.side_effects[message_id]} mails, notification {notification}"
