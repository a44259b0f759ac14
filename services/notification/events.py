"""The events that the Notification Service consumes and publishes."""

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from sidecart.chassis.fields import Natural, Uuid


@dataclass(frozen=True, slots=True)
class Item:
    """One line of an order: a product, its quantity and its unit price."""

    sku: Annotated[str, Meta(min_length=1, max_length=64)]
    quantity: Annotated[int, Meta(ge=1, le=10_000)]
    unit_price_cents: Annotated[int, Meta(ge=0, le=10**9)]


Items = Annotated[tuple[Item, ...], Meta(min_length=1, max_length=1_000)]


@dataclass(frozen=True, slots=True)
class UserCreated:
    """A user is registered, with the address for mails."""

    user_id: Uuid
    email: Annotated[str, Meta(min_length=3, max_length=254)]
    name: Annotated[str, Meta(min_length=1, max_length=200)]


@dataclass(frozen=True, slots=True)
class UserErased:
    """A user is erased, and gets no mail anymore."""

    user_id: Uuid


@dataclass(frozen=True, slots=True)
class OrderCreated:
    """An order is placed."""

    order_id: Uuid
    user_id: Uuid
    items: Items
    amount_cents: Natural


@dataclass(frozen=True, slots=True)
class OrderPaid:
    """An order is paid."""

    order_id: Uuid
    user_id: Uuid
    items: Items
    amount_cents: Natural


@dataclass(frozen=True, slots=True)
class OrderNotPaid:
    """An order could not be paid."""

    order_id: Uuid
    user_id: Uuid
    items: Items
    amount_cents: Natural
    reason: Literal["insufficient_funds", "too_late"]


@dataclass(frozen=True, slots=True)
class EmailRequested:
    """A command to send one complete mail; every repetition has the same `message_id`."""

    message_id: Annotated[str, Meta(min_length=3, max_length=100)]
    order_id: Uuid
    user_id: Uuid
    to: Annotated[str, Meta(min_length=3, max_length=254)]
    subject: Annotated[str, Meta(min_length=1, max_length=200)]
    text: Annotated[str, Meta(min_length=1)]
    html: Annotated[str, Meta(min_length=1)]


Input = UserCreated | OrderCreated | OrderPaid | OrderNotPaid | UserErased
Output = EmailRequested
INPUTS: dict[str, type[Input]] = {
    "UserCreated": UserCreated,
    "OrderCreated": OrderCreated,
    "OrderPaid": OrderPaid,
    "OrderNotPaid": OrderNotPaid,
    "UserErased": UserErased,
}
ERASURES = {"UserErased": "user_id"}
PERSONAL = {"UserCreated": "user_id", "EmailRequested": "user_id"}
