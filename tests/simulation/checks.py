"""The invariants of a simulated world at rest, whatever faults happened before."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from services.notification.email_templates import email, order_outcome
from tests.simulation.scenario import Scenario
from tests.simulation.world import World


def problems(world: World, scenario: Scenario) -> list[str]:
    """Return all violations of the invariants, one line each."""
    return [
        *(f"dead letter: {letter}" for letter in world.dead_letters),
        *(f"dead letter: {key}" for store in world.stores.values() for key in store if key.startswith("dead:")),
        *_replies(world),
        *_events(world),
        *_outboxes(world),
        *_users(world, scenario),
        *_money(world, scenario),
        *_orders(world, scenario),
        *_mails(world, scenario),
    ]


def _state(world: World, app: str, key: str) -> dict[str, Any] | None:
    found = world.stores[app].get(key)
    return None if found is None else msgspec.json.decode(found[0])["state"]


def _secondary(world: World, app: str, key: str) -> dict[str, Any] | None:
    found = world.stores[app].get(key)
    return None if found is None else msgspec.json.decode(found[0])


def _events_of(world: World, topic: str, subject: str) -> list[dict[str, Any]]:
    return [event for event in world.published[topic] if event["subject"] == subject]


def _replies(world: World) -> Iterator[str]:
    for command in world.commands:
        if len(command.replies) != 1:
            yield f"{command.topic} {command.id} was answered {sorted(command.replies)}"


def _events(world: World) -> Iterator[str]:
    known: dict[str, Any] = {}
    for topic, events in world.published.items():
        for event in events:
            content = topic, event["subject"], event["correlationid"], event["data"]
            if known.setdefault(event["id"], content) != content:
                yield f"one id, two events: {content} and {known[event['id']]}"


def _outboxes(world: World) -> Iterator[str]:
    for app, store in world.stores.items():
        for key, (value, _) in store.items():
            for event_id, entry in (msgspec.json.decode(value).get("outbox") or {}).items():
                for secondary in entry["secondaries"]:
                    if secondary not in store:
                        yield f"{app} {key}: {secondary} of {event_id} was never written"


def _users(world: World, scenario: Scenario) -> Iterator[str]:
    for user_id in scenario.user_ids:
        if not _secondary(world, "user", f"user:{user_id}"):
            yield f"user {user_id} cannot be read"
        accounts = {event["data"]["account_id"] for event in _events_of(world, "BillingAccountCreated", user_id)}
        if len(accounts) != 1:
            yield f"user {user_id} has the accounts {sorted(accounts)}"
    winners = [each for each in scenario.clashing_ids if _events_of(world, "UserCreated", each)]
    if scenario.clashing_ids and len(winners) != 1:
        yield f"one address, and the users {winners}"


def _money(world: World, scenario: Scenario) -> Iterator[str]:
    for user_id in scenario.user_ids:
        deposited = {
            event["subject"]: event["data"]["amount_cents"]
            for event in world.published["AccountDeposited"]
            if event["data"]["user_id"] == user_id
        }
        paid = {
            event["subject"]: _secondary(world, "billing", f"payment:{event['subject']}")
            for event in world.published["OrderPaymentCreated"]
            if event["data"]["user_id"] == user_id
        }
        spent = sum(payment["amount_cents"] for payment in paid.values() if payment)
        balance = (_state(world, "billing", f"account:{user_id}") or {}).get("balance_cents")
        if balance != sum(deposited.values()) - spent or balance < 0:
            yield f"user {user_id} has {balance}: paid in {sum(deposited.values())}, spent {spent}"


def _orders(world: World, scenario: Scenario) -> Iterator[str]:
    for order_id in scenario.order_ids:
        order = _state(world, "order", f"order:{order_id}") or {}
        payment = _secondary(world, "billing", f"payment:{order_id}") or {}
        ends = {topic for topic in ("OrderPaid", "OrderNotPaid") if _events_of(world, topic, order_id)}
        output = {
            topic for topic in ("OrderPaymentCreated", "OrderPaymentFailed") if _events_of(world, topic, order_id)
        }
        is_paid = order.get("status") == "paid"
        expected = ({"OrderPaid"}, {"OrderPaymentCreated"}) if is_paid else ({"OrderNotPaid"}, {"OrderPaymentFailed"})
        if order.get("status") not in ("paid", "not_paid") or (ends, output) != expected:
            yield f"order {order_id} is {order.get('status')}, but {sorted(output)} and {sorted(ends)}"
        if payment.get("amount_cents") != order.get("amount_cents") or bool(payment.get("reason")) == is_paid:
            yield f"order {order_id}: {order} and {payment} do not agree"


def _mails(world: World, scenario: Scenario) -> Iterator[str]:
    for order_id in scenario.order_ids:
        message_id = email(order_id, "a@b.c", "n", order_outcome(order_id, (), 0)).message_id
        notification = _secondary(world, "notification", f"notification:{order_id}") or {}
        if not world.mails[message_id] or not notification.get("sent_at"):
            yield f"order {order_id}: {world.mails[message_id]} mails, notification {notification}"
        if not _secondary(world, "notification", f"order:{order_id}"):
            yield f"order {order_id} was not saved by notification"
