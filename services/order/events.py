"""The events that the Order Service consumes and publishes."""

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from sidecart.chassis.fields import Uuid

SKU_CHARACTERS_MAX = 64
CENTS_MAX = 10**9
"""The highest price of one unit."""


@dataclass(frozen=True, slots=True)
class Item:
    """One line of an order: a product, its quantity and its unit price."""

    sku: Annotated[str, Meta(min_length=1, max_length=SKU_CHARACTERS_MAX)]
    quantity: Annotated[int, Meta(ge=1, le=10_000)]
    unit_price_cents: Annotated[int, Meta(ge=0, le=CENTS_MAX)]


Items = Annotated[tuple[Item, ...], Meta(min_length=1, max_length=1_000)]


@dataclass(frozen=True, slots=True)
class OrderCreateRequested:
    """A command to place an order."""

    order_id: Uuid
    user_id: Uuid
    items: Items


@dataclass(frozen=True, slots=True)
class OrderPaymentCreated:
    """The account was charged for the order."""

    order_id: Uuid


@dataclass(frozen=True, slots=True)
class OrderPaymentFailed:
    """The account was not charged for the order; this outcome is final."""

    order_id: Uuid
    reason: Literal["insufficient_funds", "too_late"]


@dataclass(frozen=True, slots=True)
class OrderCreated:
    """An order is placed; its payment is pending."""

    order_id: str
    user_id: str
    items: tuple[Item, ...]
    amount_cents: int


@dataclass(frozen=True, slots=True)
class OrderCreateRejected:
    """An order was refused."""

    order_id: str
    user_id: str
    reason: Literal["key_reused", "unknown_product", "price_changed"]


@dataclass(frozen=True, slots=True)
class OrderPaymentRequested:
    """A command to charge an order; Billing refuses it after `pay_before`."""

    order_id: str
    user_id: str
    amount_cents: int
    pay_before: str


@dataclass(frozen=True, slots=True)
class OrderPaid:
    """The order is paid; this state is final."""

    order_id: str
    user_id: str
    items: tuple[Item, ...]
    amount_cents: int


@dataclass(frozen=True, slots=True)
class OrderNotPaid:
    """The order could not be paid; this state is final."""

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
