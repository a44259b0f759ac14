"""The account aggregate.

Each deposit and each payment has its own id. The service decides it once and keeps the outcome
forever.
"""

import uuid
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, assert_never

from services.billing.events import (
    AccountDeposited,
    AccountDepositRejected,
    AccountDepositRequested,
    BillingAccountCreated,
    Input,
    OrderPaymentCreated,
    OrderPaymentFailed,
    OrderPaymentRequested,
    Output,
    UserCreated,
    UserErased,
)
from sidecart.chassis.events import Received
from sidecart.chassis.fields import NATURAL_MAX
from sidecart.chassis.service import Step


@dataclass(frozen=True, slots=True)
class Account:
    """A user's balance.

    `announced` is True after UserCreated. A deposit can arrive earlier and open the account.
    `erased` is True after UserErased. The account stays: orders are paid from it, and its balance
    is still owed.
    """

    user_id: str
    account_id: str
    balance_cents: int = 0
    announced: bool = False
    erased: bool = False


@dataclass(frozen=True, slots=True)
class Deposit:
    """The outcome of a deposit: the balance after it, or the `reason` for a refusal."""

    deposit_id: str
    user_id: str
    command_id: str
    amount_cents: int
    balance_cents: int
    reason: Literal["balance_limit"] | None = None


@dataclass(frozen=True, slots=True)
class Payment:
    """The outcome of an order's payment; `reason` is set when the service refused it."""

    order_id: str
    user_id: str
    payment_id: str
    amount_cents: int
    reason: Literal["insufficient_funds", "too_late"] | None = None


State = Account
Secondary = Deposit | Payment
SECONDARIES = {"deposit": Deposit, "payment": Payment}


def key(event: Input) -> str:
    """Return the key of the user's account record."""
    return f"account:{event.user_id}"


def is_creation(event: Input) -> bool:
    """Return True for UserCreated, the event that opens most accounts."""
    return isinstance(event, UserCreated)


def secondary_key(event: Input) -> str | None:
    """Return the key of the deposit's or payment's outcome; None for an event of the user."""
    match event:
        case AccountDepositRequested(deposit_id):
            return f"deposit:{deposit_id}"
        case OrderPaymentRequested(order_id):
            return f"payment:{order_id}"
        case UserCreated() | UserErased():
            return None
        case _:
            assert_never(event)


def subject(output: Output) -> str:
    """Return the id of the user, deposit or order that the output describes."""
    match output:
        case BillingAccountCreated(user_id):
            return user_id
        case AccountDeposited(deposit_id) | AccountDepositRejected(deposit_id):
            return deposit_id
        case OrderPaymentCreated(order_id) | OrderPaymentFailed(order_id):
            return order_id
        case _:
            assert_never(output)


def step(state: Account | None, secondary: Secondary | None, received: Received[Input]) -> Step[Account]:
    """Open an account, mark it as erased, or take money in or out: once per deposit and order."""
    event = received.event
    account = state or Account(event.user_id, account_id=_derived_id(event.user_id, "account"))
    match event:
        case UserCreated(user_id):
            opened = BillingAccountCreated(user_id, account.account_id)
            return Step(replace(account, announced=True), outputs=(opened,))
        case UserErased():
            return Step(account) if account.erased else Step(replace(account, erased=True), erased={})
        case AccountDepositRequested():
            assert not isinstance(secondary, Payment)
            return _deposit(account, secondary, event, received.correlation_id)
        case OrderPaymentRequested():
            assert not isinstance(secondary, Deposit)
            return _pay(account, secondary, event, received.at)
        case _:
            assert_never(event)


def _deposit(
    account: Account, known: Deposit | None, request: AccountDepositRequested, command_id: str
) -> Step[Account]:
    if known is not None and known.command_id != command_id:
        refusal = AccountDepositRejected(request.deposit_id, request.user_id, "key_reused")
        return Step(account, outputs=(refusal,))
    if known is not None:
        return Step(account, outputs=(_announce_deposit(known),))
    balance_cents = account.balance_cents + request.amount_cents
    deposit = Deposit(request.deposit_id, request.user_id, command_id, request.amount_cents, balance_cents)
    if balance_cents > NATURAL_MAX:
        deposit = replace(deposit, balance_cents=account.balance_cents, reason="balance_limit")
    moved = replace(account, balance_cents=deposit.balance_cents)
    return Step(moved, {f"deposit:{deposit.deposit_id}": deposit}, (_announce_deposit(deposit),))


def _pay(account: Account, known: Payment | None, request: OrderPaymentRequested, at: datetime) -> Step[Account]:
    if known is not None:
        return Step(account, outputs=(_announce_payment(known),))
    payment = Payment(request.order_id, request.user_id, _derived_id(request.order_id, "payment"), request.amount_cents)
    if at > datetime.fromisoformat(request.pay_before):
        payment = replace(payment, reason="too_late")
    elif account.balance_cents < request.amount_cents:
        payment = replace(payment, reason="insufficient_funds")
    else:
        account = replace(account, balance_cents=account.balance_cents - request.amount_cents)
    return Step(account, {f"payment:{payment.order_id}": payment}, (_announce_payment(payment),))


def _announce_deposit(deposit: Deposit) -> AccountDeposited | AccountDepositRejected:
    if deposit.reason:
        return AccountDepositRejected(deposit.deposit_id, deposit.user_id, deposit.reason)
    return AccountDeposited(deposit.deposit_id, deposit.user_id, deposit.amount_cents, deposit.balance_cents)


def _announce_payment(payment: Payment) -> OrderPaymentCreated | OrderPaymentFailed:
    if payment.reason:
        return OrderPaymentFailed(payment.order_id, payment.user_id, payment.reason)
    return OrderPaymentCreated(payment.order_id, payment.user_id, payment.payment_id)


def _derived_id(owner_id: str, word: str) -> str:
    return str(uuid.uuid5(uuid.UUID(owner_id), word))
