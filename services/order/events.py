"""The events that the Order Service reads and writes."""

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from chassis.fields import Uuid


@dataclass(frozen=True, slots=True)
class Item:
    """So many of one thing, at a price each."""

    sku: Annotated[str, Meta(min_length=1, max_length=64)]
    quantity: Annotated[int, Meta(ge=1, le=10_000)]
    unit_price_cents: Annotated[int, Meta(ge=0, le=10**9)]


Items = Annotated[tuple[Item, ...], Meta(min_length=1, max_length=1_000)]


@dataclass(frozen=True, slots=True)
class OrderCreateRequested:
    """Somebody wants to order."""

    order_id: Uuid
    user_id: Uuid
    items: Items


@dataclass(frozen=True, slots=True)
class OrderPaymentCreated:
    """The money was taken."""

    order_id: Uuid


@dataclass(frozen=True, slots=True)
class OrderPaymentFailed:
    """The money was not taken, and never will be."""

    order_id: Uuid
    reason: Literal["insufficient_funds", "too_late"]


@dataclass(frozen=True, slots=True)
class OrderCreated:
    """An order is placed; its payment is on the way."""

    order_id: str
    user_id: str
    items: tuple[Item, ...]
    amount_cents: int


@dataclass(frozen=True, slots=True)
class OrderCreateRejected:
    """An order was refused."""

    order_id: str
    user_id: str
    reason: Literal["key_reused"]


@dataclass(frozen=True, slots=True)
class OrderPaymentRequested:
    """The order's money is asked for; it must not be taken after `pay_before`."""

    order_id: str
    user_id: str
    amount_cents: int
    pay_before: str


@dataclass(frozen=True, slots=True)
class OrderPaid:
    """The order is paid: its final state."""

    order_id: str
    user_id: str
    items: tuple[Item, ...]
    amount_cents: int


@dataclass(frozen=True, slots=True)
class OrderNotPaid:
    """The order could not be paid: its final state."""

    order_id: str
    user_id: str
    items: tuple[Item, ...]
    amount_cents: int
    reason: Literal["insufficient_funds", "too_late"]


Input = OrderCreateRequested | OrderPaymentCreated | OrderPaymentFailed
Output = OrderCreated | OrderCreateRejected | OrderPaymentRequested | OrderPaid | OrderNotPaid
INPUTS: dict[str, type[Input]] = {
    "OrderCreateRequested": OrderCreateRequested,
    "OrderPaymentCreated": OrderPaymentCreated,
    "OrderPaymentFailed": OrderPaymentFailed,
}
