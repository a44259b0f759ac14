"""The account decides each deposit and payment once, in any order and with any repetition."""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.billing import domain
from services.billing.domain import PAYMENTS_MAX, Account, Deposit, Payment, Payments
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
NONE_YET = Payments({}, "")
ONE = Payments({ORDER: timestamp(NOON)}, "")


def account(balance_cents: int = 0, announced: bool = True, payments: Payments | None = NONE_YET) -> Account:
    """Return an account with this balance."""
    return Account(USER, ACCOUNT_ID, balance_cents, announced, payments=payments)


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
    assert replace(account(200, payments=ONE), erased=True) == paid.state
    assert replace(account(700, payments=ONE), erased=True) == deposited.state


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
    assert account(balance_cents - 300, payments=ONE) == step.state
    assert (None, 300) == (payment.reason, payment.amount_cents)
    assert (OrderPaymentCreated(ORDER, USER, payment.payment_id),) == step.outputs


@pytest.mark.parametrize("balance_cents", [0, 299])
def test_a_payment_takes_nothing_if_there_is_too_little(balance_cents: int) -> None:
    """The refusal leaves the balance unchanged and is saved as the outcome."""
    step = domain.step(account(balance_cents), None, received(PAYMENT))

    assert (account(balance_cents, payments=ONE), (OrderPaymentFailed(ORDER, USER, "insufficient_funds"),)) == (
        step.state,
        step.outputs,
    )
    assert "insufficient_funds" == step.secondaries[f"payment:{ORDER}"].reason


def test_a_payment_requested_too_late_takes_no_money() -> None:
    """A payment after `pay_before` fails with `too_late` and leaves the balance unchanged."""
    late = NOON + timedelta(milliseconds=1)
    step = domain.step(account(500), None, received(PAYMENT, at=late))

    assert account(500, payments=ONE) == step.state
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


PAY_BEFORE = (-60, 0, 0, 1, 2)
"""Minutes after noon: one payment is too late, and two are due at the same time."""


@dataclass(frozen=True, slots=True)
class EarlierAccount:
    """The state as the version before the list saves it."""

    user_id: str
    account_id: str
    balance_cents: int = 0
    announced: bool = False
    erased: bool = False


def uuid_of(number: int) -> str:
    """Return a UUID that ends in this number."""
    return f"00000000-0000-4000-8000-{number:012d}"


def minute(number: float) -> str:
    """Return the time this long after noon."""
    return timestamp(NOON + timedelta(minutes=number))


def paid(number: int, minutes: float, cents: int = 1) -> Received[Input]:
    """Return the request for the payment of an order, due this long after noon."""
    return received(OrderPaymentRequested(uuid_of(number), USER, cents, minute(minutes)))


def after(*requests: Received[Input], payments_max: int = PAYMENTS_MAX) -> Account:
    """Return the account after these payments, each decided without its secondary record."""
    state: Account | None = account(1_000)
    for request in requests:
        state = domain.step(state, None, request, payments_max=payments_max).state
    assert state is not None
    return state


def test_a_payment_that_the_account_does_not_list_was_never_decided() -> None:
    """The first one of an account, and each later one that is due after those dropped."""
    opened, full = after(), after(paid(1, 1), paid(2, 2), paid(3, 3), payments_max=2)

    assert domain.lacks_secondary(opened, paid(1, -1).event)
    assert domain.lacks_secondary(full, paid(4, 1.5).event)
    assert Payments({uuid_of(2): minute(2), uuid_of(3): minute(3)}, minute(1)) == full.payments


def test_a_listed_payment_is_looked_for() -> None:
    """Also one that was refused."""
    full = after(paid(1, 1), paid(2, 2, cents=5_000), payments_max=2)

    assert not domain.lacks_secondary(full, paid(1, 1).event)
    assert not domain.lacks_secondary(full, paid(2, 2).event)


def test_a_payment_that_left_the_list_is_looked_for() -> None:
    """Its `pay_before` is at most the largest one that was dropped, however late it comes again."""
    full = after(*(paid(number, number) for number in range(1, 6)), payments_max=2)

    assert not any(domain.lacks_secondary(full, paid(number, number).event) for number in range(1, 6))


def test_the_largest_time_that_was_dropped_counts() -> None:
    """A late event with a small `pay_before` is dropped at once, and lowers nothing."""
    full = after(paid(1, 8), paid(2, 9), paid(3, 7), paid(4, 2), payments_max=2)

    assert full.payments is not None
    assert minute(7) == full.payments.dropped
    assert not domain.lacks_secondary(full, paid(3, 7).event)


def test_times_are_compared_as_times() -> None:
    """A publisher may write zero to six fractional digits, and another number of them again."""
    first = OrderPaymentRequested(uuid_of(1), USER, 1, "2026-01-01T12:00:00.000Z")
    full = after(received(first), paid(2, 1), payments_max=1)

    assert not domain.lacks_secondary(full, replace(first, pay_before="2026-01-01T12:00:00Z"))
    assert not domain.lacks_secondary(full, replace(first, pay_before="2026-01-01T12:00:00.000000Z"))
    assert domain.lacks_secondary(full, replace(first, pay_before="2026-01-01T12:00:00.000001Z"))


def test_an_impossible_time_has_a_place_in_the_order() -> None:
    """The step rejects it, as before; the look at the list must not fail."""
    impossible = OrderPaymentRequested(uuid_of(1), USER, 1, "2026-99-99T99:99:99Z")

    assert domain.lacks_secondary(account(), impossible)
    with pytest.raises(ValueError, match="month"):
        domain.step(account(), None, received(impossible))


def test_an_account_of_an_earlier_version_stays_without_a_list() -> None:
    """Its payments are unknown, so each one is looked for: after a payment and a deposit, too."""
    old = account(500, payments=None)
    paid_once = domain.step(old, None, received(PAYMENT)).state
    deposited = domain.step(paid_once, None, received(AccountDepositRequested(DEPOSIT, USER, 500))).state

    assert account(700, payments=None) == deposited
    assert not any(domain.lacks_secondary(each, paid(2, 9).event) for each in (None, old, paid_once, deposited))


def test_a_version_without_the_list_removes_it() -> None:
    """A replica of that version decides payments that no list has, so no list may stay."""
    saved = msgspec.json.encode(after(paid(1, 1)))
    earlier = msgspec.json.encode(msgspec.json.decode(saved, type=EarlierAccount))

    assert b"payments" in saved
    assert msgspec.json.decode(earlier, type=Account).payments is None


def test_the_list_shrinks_to_a_smaller_limit() -> None:
    """A version with a smaller limit drops more than one."""
    wide = after(*(paid(number, number) for number in range(1, 9)))
    narrow = domain.step(wide, None, paid(9, 9), payments_max=2).state

    assert narrow is not None
    assert narrow.payments is not None
    assert [uuid_of(8), uuid_of(9)] == list(narrow.payments.latest)
    assert minute(7) == narrow.payments.dropped


def test_only_payments_are_left_out() -> None:
    """No list shows which deposits an account has."""
    assert not domain.lacks_secondary(account(), AccountDepositRequested(DEPOSIT, USER, 1))
    assert not domain.lacks_secondary(account(), UserCreated(USER))


MOVES: st.SearchStrategy[Input] = st.one_of(
    st.just(UserCreated(USER)),
    st.builds(AccountDepositRequested, st.integers(1, 5).map(uuid_of), st.just(USER), st.just(100)),
    st.integers(11, 18).map(
        lambda number: OrderPaymentRequested(uuid_of(number), USER, 70, minute(PAY_BEFORE[number % 5]))
    ),
)


@given(st.lists(MOVES, max_size=40), st.integers(1, 3))
def test_any_order_and_any_repetition_keeps_every_cent(moves: list[Input], payments_max: int) -> None:
    """The balance is deposits minus payments and never negative; each id has one answer.

    The secondary record is read only if the account does not prove that there is none.
    """
    state: Account | None = None
    secondaries: dict[str, Any] = {}
    answers: dict[str, Any] = {}
    for move in moves:
        key = domain.secondary_key(move)
        known = None if domain.lacks_secondary(state, move) else secondaries.get(key or "")
        step = domain.step(state, known, received(move), payments_max=payments_max)
        state = step.state
        assert not step.secondaries.keys() & secondaries.keys()
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
