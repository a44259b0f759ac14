"""The events that the Billing Service consumes and publishes."""

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from sidecart.chassis.fields import NATURAL_MAX, Natural, Timestamp, Uuid


@dataclass(frozen=True, slots=True)
class UserCreated:
    """A user is registered and needs an account."""

    user_id: Uuid


@dataclass(frozen=True, slots=True)
class UserErased:
    """A user is erased; the account stays, by its id."""

    user_id: Uuid


@dataclass(frozen=True, slots=True)
class AccountDepositRequested:
    """A command to deposit money into an account."""

    deposit_id: Uuid
    user_id: Uuid
    amount_cents: Annotated[int, Meta(ge=1, le=NATURAL_MAX)]


@dataclass(frozen=True, slots=True)
class OrderPaymentRequested:
    """A command to charge an order; the service refuses it after `pay_before`."""

    order_id: Uuid
    user_id: Uuid
    amount_cents: Natural
    pay_before: Timestamp


@dataclass(frozen=True, slots=True)
class BillingAccountCreated:
    """An account is open."""

    user_id: str
    account_id: str


@dataclass(frozen=True, slots=True)
class AccountDeposited:
    """Money was deposited; `balance_cents` is the balance after the deposit."""

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
    """The account was charged for an order."""

    order_id: str
    user_id: str
    payment_id: str


@dataclass(frozen=True, slots=True)
class OrderPaymentFailed:
    """The account was not charged for an order; this outcome is final."""

    order_id: str
    user_id: str
    reason: Literal["insufficient_funds", "too_late"]


Input = UserCreated | UserErased | AccountDepositRequested | OrderPaymentRequested
Output = BillingAccountCreated | AccountDeposited | AccountDepositRejected | OrderPaymentCreated | OrderPaymentFailed
INPUTS: dict[str, type[Input]] = {
    "UserCreated": UserCreated,
    "AccountDepositRequested": AccountDepositRequested,
    "OrderPaymentRequested": OrderPaymentRequested,
    "UserErased": UserErased,
}
ERASURES = {"UserErased": "user_id"}
PERSONAL = {"UserCreated": "user_id"}
"""The service reads no contact data, but a dead letter holds the whole event."""
