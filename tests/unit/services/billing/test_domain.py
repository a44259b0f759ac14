"""The account decides each deposit and payment once, in any order and with any repetition."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.billing import domain
from services.billing.domain import Account, Deposit, Payment
from services.billing.events import (
    AccountDeposited,
    AccountDepositRejected,
    AccountDepositRequested,
    BillingAccountCreated,
    Input,
    OrderPaymentCreated,
    OrderPaymentFailed,
    OrderPaymentRequested,
    UserCreated,
    UserErased,
)
from sidecart.chassis.events import Received, timestamp
from sidecart.chassis.fields import NATURAL_MAX
from tests.unit.services.sample_events import ANOTHER, COMMAND, DEPOSIT, NOON, ORDER, USER, received

OPENED = domain.step(None, None, received(UserCreated(USER)))
ACCOUNT_ID = OPENED.state.account_id if OPENED.state else ""
PAYMENT = OrderPaymentRequested(ORDER, USER, 300, timestamp(NOON))


def account(balance_cents: int = 0, announced: bool = True) -> Account:
    """Return an account with this balance."""
    return Account(USER, ACCOUNT_ID, balance_cents, announced)


def test_a_user_gets_an_empty_account() -> None:
    """UserCreated opens an account with balance 0 and publishes BillingAccountCreated."""
    assert (account(), (BillingAccountCreated(USER, ACCOUNT_ID),)) == (OPENED.state, OPENED.outputs)


def test_a_deposit_before_its_user_opens_the_account_and_the_user_announces_it() -> None:
    """An early deposit opens the account; UserCreated announces it with its balance."""
    early = domain.step(None, None, received(AccountDepositRequested(DEPOSIT, USER, 500)))
    then = domain.step(early.state, None, received(UserCreated(USER)))

    assert account(500, announced=False) == early.state
    assert (account(500), (BillingAccountCreated(USER, ACCOUNT_ID),)) == (then.state, then.outputs)


def test_an_erased_account_keeps_its_balance() -> None:
    """The books stay; orders are still paid from the account, and a late deposit is not lost."""
    erased = domain.step(account(500), None, received(UserErased(USER)))
    paid = domain.step(erased.state, None, received(PAYMENT))
    deposited = domain.step(paid.state, None, received(AccountDepositRequested(DEPOSIT, USER, 500)))

    assert (replace(account(500), erased=True), (), {}) == (erased.state, erased.outputs, erased.erased)
    assert replace(account(200), erased=True) == paid.state
    assert replace(account(700), erased=True) == deposited.state


def test_an_erasure_before_its_user_opens_the_account() -> None:
    """A late UserCreated still announces it: the account has no contact data."""
    early = domain.step(None, None, received(UserErased(USER)))
    then = domain.step(early.state, None, received(UserCreated(USER)))

    assert replace(account(announced=False), erased=True) == early.state
    assert (replace(account(), erased=True), (BillingAccountCreated(USER, ACCOUNT_ID),)) == (then.state, then.outputs)


def test_a_deposit_adds_money_and_keeps_its_outcome() -> None:
    """AccountDeposited contains the balance after the deposit."""
    step = domain.step(account(100), None, received(AccountDepositRequested(DEPOSIT, USER, 500)))

    assert account(600) == step.state
    assert {f"deposit:{DEPOSIT}": Deposit(DEPOSIT, USER, COMMAND, 500, 600)} == step.secondaries
    assert (AccountDeposited(DEPOSIT, USER, 500, 600),) == step.outputs


def test_a_repeated_deposit_gets_the_first_answer_after_the_balance_changed() -> None:
    """The secondary record keeps the balance of the first answer."""
    known = Deposit(DEPOSIT, USER, COMMAND, 500, 600)
    step = domain.step(account(7), known, received(AccountDepositRequested(DEPOSIT, USER, 500)))

    assert (account(7), {}, (AccountDeposited(DEPOSIT, USER, 500, 600),)) == (
        step.state,
        step.secondaries,
        step.outputs,
    )


def test_another_body_under_the_key_of_a_deposit_is_refused_and_moves_nothing() -> None:
    """A second command with the same deposit_id is rejected and changes no balance."""
    known = Deposit(DEPOSIT, USER, COMMAND, 500, 600)
    step = domain.step(account(600), known, received(AccountDepositRequested(DEPOSIT, USER, 900), ANOTHER))

    assert (account(600), (AccountDepositRejected(DEPOSIT, USER, "key_reused"),)) == (step.state, step.outputs)


def test_a_deposit_over_the_limit_stays_refused() -> None:
    """A repetition is refused too, although the balance has room for it by then."""
    command: Received[Input] = received(AccountDepositRequested(DEPOSIT, USER, 2))
    refused = domain.step(account(NATURAL_MAX - 1), None, command)
    again = domain.step(account(0), refused.secondaries[f"deposit:{DEPOSIT}"], command)

    assert account(NATURAL_MAX - 1) == refused.state
    assert (AccountDepositRejected(DEPOSIT, USER, "balance_limit"),) == refused.outputs == again.outputs
    assert account(0) == again.state


@pytest.mark.parametrize("balance_cents", [300, 301, NATURAL_MAX])
def test_a_payment_takes_the_money_if_there_is_enough(balance_cents: int) -> None:
    """A payment takes exactly its amount, also when that is the whole balance."""
    step = domain.step(account(balance_cents), None, received(PAYMENT))

    payment = step.secondaries[f"payment:{ORDER}"]
    assert account(balance_cents - 300) == step.state
    assert (None, 300) == (payment.reason, payment.amount_cents)
    assert (OrderPaymentCreated(ORDER, USER, payment.payment_id),) == step.outputs


@pytest.mark.parametrize("balance_cents", [0, 299])
def test_a_payment_takes_nothing_if_there_is_too_little(balance_cents: int) -> None:
    """The refusal leaves the balance unchanged and is saved as the outcome."""
    step = domain.step(account(balance_cents), None, received(PAYMENT))

    assert (account(balance_cents), (OrderPaymentFailed(ORDER, USER, "insufficient_funds"),)) == (
        step.state,
        step.outputs,
    )
    assert "insufficient_funds" == step.secondaries[f"payment:{ORDER}"].reason


def test_a_payment_requested_too_late_takes_no_money() -> None:
    """A payment after `pay_before` fails with `too_late` and leaves the balance unchanged."""
    late = NOON + timedelta(milliseconds=1)
    step = domain.step(account(500), None, received(PAYMENT, at=late))

    assert account(500) == step.state
    assert (OrderPaymentFailed(ORDER, USER, "too_late"),) == step.outputs


def test_the_outcome_of_a_payment_is_final() -> None:
    """A repetition gets the first outcome, whatever the balance and the time are by then."""
    refused = Payment(ORDER, USER, "p-1", 300, "insufficient_funds")
    taken = Payment(ORDER, USER, "p-1", 300)
    late: Received[Input] = received(PAYMENT, at=NOON + timedelta(days=1))

    again = [domain.step(account(900), known, late) for known in (refused, taken)]

    assert [account(900)] * 2 == [step.state for step in again]
    assert [
        (OrderPaymentFailed(ORDER, USER, "insufficient_funds"),),
        (OrderPaymentCreated(ORDER, USER, "p-1"),),
    ] == [step.outputs for step in again]


def uuid_of(number: int) -> str:
    """Return a UUID that ends in this number."""
    return f"00000000-0000-4000-8000-{number:012d}"


MOVES: st.SearchStrategy[Input] = st.one_of(
    st.just(UserCreated(USER)),
    st.builds(AccountDepositRequested, st.integers(1, 5).map(uuid_of), st.just(USER), st.just(100)),
    st.builds(
        OrderPaymentRequested,
        st.integers(11, 18).map(uuid_of),
        st.just(USER),
        st.just(70),
        st.sampled_from([timestamp(NOON), timestamp(NOON - timedelta(hours=1))]),
    ),
)


@given(st.lists(MOVES, max_size=40))
def test_any_order_and_any_repetition_keeps_every_cent(moves: list[Input]) -> None:
    """The balance is deposits minus payments and never negative; each id has one answer."""
    state: Account | None = None
    secondaries: dict[str, Any] = {}
    answers: dict[str, Any] = {}
    for move in moves:
        key = domain.secondary_key(move)
        step = domain.step(state, secondaries.get(key or ""), received(move))
        state = step.state
        secondaries |= step.secondaries
        for output in step.outputs:
            assert answers.setdefault(key or "user", output) == output

    deposits = sum(each.amount_cents for each in secondaries.values() if isinstance(each, Deposit) and not each.reason)
    payments = sum(each.amount_cents for each in secondaries.values() if isinstance(each, Payment) and not each.reason)
    balance = state.balance_cents if state else 0
    assert deposits - payments == balance
    assert balance >= 0


def test_the_subject_is_the_aggregate_of_the_event() -> None:
    """The subject is a user id, a deposit id or an order id."""
    payment = OrderPaymentCreated(ORDER, USER, "p-1")

    assert [USER, DEPOSIT, ORDER] == [
        domain.subject(BillingAccountCreated(USER, ACCOUNT_ID)),
        domain.subject(AccountDeposited(DEPOSIT, USER, 1, 1)),
        domain.subject(replace(payment, payment_id="p-2")),
    ]
