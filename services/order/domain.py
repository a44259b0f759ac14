"""The order aggregate: the events that change an order and the events that it publishes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Literal, assert_never

from services.order.events import (
    Input,
    Item,
    OrderCreated,
    OrderCreateRejected,
    OrderCreateRequested,
    OrderNotPaid,
    OrderPaid,
    OrderPaymentCreated,
    OrderPaymentFailed,
    OrderPaymentRequested,
    Output,
)
from sidecart.chassis.events import Received, timestamp
from sidecart.chassis.fields import NATURAL_MAX
from sidecart.chassis.service import Step


@dataclass(frozen=True, slots=True)
class Order:
    """An order, the id of the command that placed it, and the status of its payment.

    A rejected order keeps its reason, so that its command never succeeds later: not after a change
    of the prices either.
    """

    order_id: str
    user_id: str
    items: tuple[Item, ...]
    amount_cents: int
    command_id: str
    pay_before: str
    status: Literal["payment_pending", "paid", "not_paid", "rejected"] = "payment_pending"
    reason: Literal["insufficient_funds", "too_late", "unknown_product", "price_changed"] | None = None


State = Order


def key(event: Input) -> str:
    """Return the key of the order's record."""
    return f"order:{event.order_id}"


def is_creation(event: Input) -> bool:
    """Return True for the command that places an order."""
    return isinstance(event, OrderCreateRequested)


def subject(output: Output) -> str:
    """Return the id of the order that the output describes."""
    return output.order_id


def step(
    order: Order | None,
    _secondary: None,
    received: Received[Input],
    *,
    pay_within: timedelta,
    prices: Mapping[str, int],
) -> Step[Order]:
    """Advance one order by one event; a repeated event gives the same outputs from the state."""
    event = received.event
    match event:
        case OrderCreateRequested():
            return _place(order, event, received, pay_within, prices)
        case OrderPaymentCreated():
            return _settle(order, "paid", None)
        case OrderPaymentFailed(reason=reason):
            return _settle(order, "not_paid", reason)
        case _:
            assert_never(event)


def _place(
    order: Order | None,
    request: OrderCreateRequested,
    received: Received[Input],
    pay_within: timedelta,
    prices: Mapping[str, int],
) -> Step[Order]:
    if order is not None and order.command_id != received.correlation_id:
        return Step(order, outputs=(OrderCreateRejected(request.order_id, request.user_id, "key_reused"),))
    if order is None:
        order = _decided(request, received, pay_within, prices)
    if order.reason == "unknown_product" or order.reason == "price_changed":
        return Step(order, outputs=(OrderCreateRejected(order.order_id, order.user_id, order.reason),))
    created = OrderCreated(order.order_id, order.user_id, order.items, order.amount_cents)
    payment = OrderPaymentRequested(order.order_id, order.user_id, order.amount_cents, order.pay_before)
    return Step(order, outputs=(created, payment))


def _decided(
    request: OrderCreateRequested, received: Received[Input], pay_within: timedelta, prices: Mapping[str, int]
) -> Order:
    """Return the new order, rejected if a price differs from the price list."""
    command_id = received.correlation_id
    if reason := _objection(request.items, prices):
        return Order(request.order_id, request.user_id, (), 0, command_id, "", "rejected", reason)
    amount_cents = sum(item.quantity * item.unit_price_cents for item in request.items)
    assert amount_cents <= NATURAL_MAX, f"the order's total of {amount_cents} cents is over the limit"
    pay_before = timestamp(received.at + pay_within)
    return Order(request.order_id, request.user_id, request.items, amount_cents, command_id, pay_before)


def _objection(items: Iterable[Item], prices: Mapping[str, int]) -> Literal["unknown_product", "price_changed"] | None:
    reason: Literal["price_changed"] | None = None
    for item in items:
        if item.sku not in prices:
            return "unknown_product"
        if item.unit_price_cents != prices[item.sku]:
            reason = "price_changed"
    return reason


def _settle(
    order: Order | None,
    status: Literal["paid", "not_paid"],
    reason: Literal["insufficient_funds", "too_late"] | None,
) -> Step[Order]:
    assert order is not None, "a payment outcome for an order that was never placed"
    assert order.status in ("payment_pending", status), f"the payment outcome changed from {order.status} to {status}"
    order = replace(order, status=status, reason=reason)
    final = order.order_id, order.user_id, order.items, order.amount_cents
    return Step(order, outputs=(OrderPaid(*final) if reason is None else OrderNotPaid(*final, reason),))
