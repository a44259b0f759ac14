"""The order: placed once, and ended once."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.processor import Step
from services.order import domain
from services.order.domain import Order
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
from tests.unit.services.sample_events import ANOTHER, COMMAND, NOON, ORDER, USER, received

ITEMS = (Item("tea", 2, 450), Item("cup", 1, 0))
ASKED = OrderCreateRequested(ORDER, USER, ITEMS)
UNTIL = "2026-01-01T12:15:00.000Z"
PLACED = Order(ORDER, USER, ITEMS, 900, COMMAND, UNTIL)
PAID = Order(ORDER, USER, ITEMS, 900, COMMAND, UNTIL, "paid")
NOT_PAID = Order(ORDER, USER, ITEMS, 900, COMMAND, UNTIL, "not_paid", "too_late")
ANNOUNCED = (OrderCreated(ORDER, USER, ITEMS, 900), OrderPaymentRequested(ORDER, USER, 900, UNTIL))


def step(state: Order | None, event: Input, command_id: str = COMMAND, minutes: int = 0) -> Step[Order]:
    """One step, a quarter of an hour to pay."""
    at = NOON + timedelta(minutes=minutes)
    return domain.step(state, None, received(event, command_id, at), pay_within=timedelta(minutes=15))


def test_an_order_is_placed_and_its_money_asked_for() -> None:
    """The total is the sum of its items, the time to pay counts from its receipt."""
    assert Step(PLACED, {}, ANNOUNCED) == step(None, ASKED)


@pytest.mark.parametrize("state", [PLACED, PAID, NOT_PAID])
def test_the_same_command_again_is_answered_again_whatever_became_of_it(state: Order) -> None:
    """With the first time to pay, an hour later too."""
    assert Step(state, {}, ANNOUNCED) == step(state, ASKED, minutes=60)


def test_another_body_under_the_same_key_is_refused() -> None:
    """The order stays as it is."""
    other = OrderCreateRequested(ORDER, USER, ITEMS[:1])

    assert Step(PLACED, {}, (OrderCreateRejected(ORDER, USER, "key_reused"),)) == step(PLACED, other, ANOTHER)


@pytest.mark.parametrize("state", [PLACED, PAID])
def test_a_payment_ends_the_order_paid_and_tells_it_again(state: Order) -> None:
    """From pending, or told again."""
    expected = Step(PAID, {}, (OrderPaid(ORDER, USER, ITEMS, 900),))

    assert expected == step(state, OrderPaymentCreated(ORDER))


@pytest.mark.parametrize("state", [PLACED, NOT_PAID])
def test_a_failed_payment_ends_the_order_not_paid_and_tells_it_again(state: Order) -> None:
    """With the reason."""
    expected = Step(NOT_PAID, {}, (OrderNotPaid(ORDER, USER, ITEMS, 900, "too_late"),))

    assert expected == step(state, OrderPaymentFailed(ORDER, "too_late"))


@pytest.mark.parametrize(
    ("state", "event"),
    [
        (None, OrderPaymentCreated(ORDER)),
        (None, OrderPaymentFailed(ORDER, "too_late")),
        (PAID, OrderPaymentFailed(ORDER, "too_late")),
        (NOT_PAID, OrderPaymentCreated(ORDER)),
        (None, OrderCreateRequested(ORDER, USER, (Item("yacht", 10_000, 10**9),))),
    ],
)
def test_what_cannot_be_is_an_assertion(state: Order | None, event: Input) -> None:
    """A payment of no order, two ends of one order, a total over the limit: a dead letter each."""
    with pytest.raises(AssertionError):
        step(state, event)


COMMANDS = st.tuples(
    st.sampled_from([ASKED, replace(ASKED, items=ITEMS[:1]), replace(ASKED, items=ITEMS[1:])]),
    st.sampled_from([COMMAND, ANOTHER]),
    st.integers(0, 3_600),
)


@given(
    st.lists(COMMANDS, min_size=1, max_size=20), st.sampled_from(["paid", "insufficient_funds", "too_late"]), st.data()
)
def test_any_order_and_any_repetition_is_one_order_with_one_end(
    commands: list[tuple[OrderCreateRequested, str, int]], is_paid: bool, data: st.DataObject
) -> None:
    """The first command decides what it is; every announcement of it is the same, at whatever time it is repeated."""
    end = OrderPaymentCreated(ORDER) if is_paid else OrderPaymentFailed(ORDER, "too_late")
    first, first_id, _ = commands[0]
    ends = data.draw(st.integers(0, 3), "how often the payment's outcome comes")
    told: list[tuple[Input, str, int]] = [
        commands[0],
        *data.draw(st.permutations([*commands[1:], *[(end, COMMAND, 0)] * ends])),
    ]
    state: Order | None = None
    said: dict[type[Output], set[Output]] = {}
    for event, command_id, seconds in told:
        at = NOON + timedelta(seconds=seconds)
        made = domain.step(state, None, received(event, command_id, at), pay_within=timedelta(minutes=15))
        state = made.state
        for output in made.outputs:
            said.setdefault(type(output), set()).add(output)

    assert state is not None
    assert (first.items, first_id) == (state.items, state.command_id)
    assert {1} == {len(each) for each in said.values()}
    assert bool(ends) == (state.status != "payment_pending")
    assert bool(ends) == bool({OrderPaid, OrderNotPaid} & said.keys())
    assert any(command_id != first_id for _, command_id, _ in commands) == (OrderCreateRejected in said)
