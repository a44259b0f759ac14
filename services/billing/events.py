"""The events that the Billing Service reads and writes."""

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from chassis.fields import CENTS_MAX, Cents, Timestamp, Uuid


@dataclass(frozen=True, slots=True)
class UserCreated:
    """A user is registered and gets an account."""

    user_id: Uuid


@dataclass(frozen=True, slots=True)
class AccountDepositRequested:
    """Somebody wants to pay money in."""

    deposit_id: Uuid
    user_id: Uuid
    amount_cents: Annotated[int, Meta(ge=1, le=CENTS_MAX)]


@dataclass(frozen=True, slots=True)
class OrderPaymentRequested:
    """An order asks for its money; after `pay_before` it must not be taken any more."""

    order_id: Uuid
    user_id: Uuid
    amount_cents: Cents
    pay_before: Timestamp


@dataclass(frozen=True, slots=True)
class BillingAccountCreated:
    """An account is open."""

    user_id: str
    account_id: str


@dataclass(frozen=True, slots=True)
class AccountDeposited:
    """Money was paid in; the balance is the one right after it."""

    deposit_id: str
    user_id: str
    amount_cents: int
    balance_cents: int


@dataclass(frozen=True, slots=True)
class AccountDepositRejected:
    """A deposit was refused."""

    deposit_id: str
    user_id: str
    reason: Literal["key_reused", "balance_limit"]


@dataclass(frozen=True, slots=True)
class OrderPaymentCreated:
    """The money for an order was taken."""

    order_id: str
    user_id: str
    payment_id: str


@dataclass(frozen=True, slots=True)
class OrderPaymentFailed:
    """The money for an order was not taken, and never will be."""

    order_id: str
    user_id: str
    reason: Literal["insufficient_funds", "too_late"]


Input = UserCreated | AccountDepositRequested | OrderPaymentRequested
Output = BillingAccountCreated | AccountDeposited | AccountDepositRejected | OrderPaymentCreated | OrderPaymentFailed
INPUTS: dict[str, type[Input]] = {
    "UserCreated": UserCreated,
    "AccountDepositRequested": AccountDepositRequested,
    "OrderPaymentRequested": OrderPaymentRequested,
}
