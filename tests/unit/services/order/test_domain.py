"""An order is placed once and gets one final state."""

from dataclasses import replace
from datetime import timedelta
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from sidecart.chassis.service import Step
from tests.unit.services.sample_events import ANOTHER, COMMAND, NOON, ORDER, USER, received

ITEMS = (Item("tea", 2, 450), Item("cup", 1, 0))
PRICES = {"tea": 450, "cup": 0, "yacht": 10**9}
REQUEST = OrderCreateRequested(ORDER, USER, ITEMS)
UNTIL = "2026-01-01T12:15:00.000Z"
PLACED = Order(ORDER, USER, ITEMS, 900, COMMAND, UNTIL)
PAID = Order(ORDER, USER, ITEMS, 900, COMMAND, UNTIL, "paid")
REJECTED = Order(ORDER, USER, (), 0, COMMAND, "", "rejected", "price_changed")
NOT_PAID = Order(ORDER, USER, ITEMS, 900, COMMAND, UNTIL, "not_paid", "too_late")
ANNOUNCED = (OrderCreated(ORDER, USER, ITEMS, 900), OrderPaymentRequested(ORDER, USER, 900, UNTIL))


def step(state: Order | None, event: Input, command_id: str = COMMAND, minutes: int = 0) -> Step[Order]:
    """Run one step with a payment limit of 15 minutes."""
    at = NOON + timedelta(minutes=minutes)
    return domain.step(state, None, received(event, command_id, at), pay_within=timedelta(minutes=15), prices=PRICES)


def test_a_command_places_an_order_and_requests_its_payment() -> None:
    """The amount is the sum of the items; `pay_before` counts from the receipt of the command."""
    assert Step(PLACED, {}, ANNOUNCED) == step(None, REQUEST)


@pytest.mark.parametrize("state", [PLACED, PAID, NOT_PAID])
def test_a_repeated_command_is_answered_again_in_every_state(state: Order) -> None:
    """A repetition an hour later publishes the same events with the first `pay_before`."""
    assert Step(state, {}, ANNOUNCED) == step(state, REQUEST, minutes=60)


@pytest.mark.parametrize(
    ("items", "reason"),
    [
        ((Item("tea", 2, 449),), "price_changed"),
        ((Item("tea", 2, 451), Item("cup", 1, 0)), "price_changed"),
        ((Item("unicorn", 1, 450),), "unknown_product"),
        ((Item("tea", 1, 1), Item("unicorn", 1, 450)), "unknown_product"),
        ((Item("TEA", 1, 450),), "unknown_product"),
    ],
)
def test_only_the_prices_of_the_list_are_accepted(items: tuple[Item, ...], reason: Literal["price_changed"]) -> None:
    """The rejection is stored, and there is nothing to pay."""
    rejected = replace(REJECTED, reason=reason)

    made = step(None, OrderCreateRequested(ORDER, USER, items))

    assert Step(rejected, {}, (OrderCreateRejected(ORDER, USER, reason),)) == made


def test_a_rejected_order_stays_rejected_when_the_price_fits_later() -> None:
    """The caller knows that it was rejected: a repetition of the command must not place it."""
    rejection = (OrderCreateRejected(ORDER, USER, "price_changed"),)

    assert Step(REJECTED, {}, rejection) == step(REJECTED, REQUEST)
    assert (OrderCreateRejected(ORDER, USER, "key_reused"),) == step(REJECTED, REQUEST, ANOTHER).outputs


def test_another_body_under_the_same_key_is_refused() -> None:
    """A second command with the same order_id is rejected; the order does not change."""
    other = OrderCreateRequested(ORDER, USER, ITEMS[:1])

    assert Step(PLACED, {}, (OrderCreateRejected(ORDER, USER, "key_reused"),)) == step(PLACED, other, ANOTHER)


@pytest.mark.parametrize("state", [PLACED, PAID])
def test_a_payment_makes_the_order_paid_and_a_repetition_publishes_again(state: Order) -> None:
    """OrderPaymentCreated publishes OrderPaid for a pending order and for a paid one."""
    expected = Step(PAID, {}, (OrderPaid(ORDER, USER, ITEMS, 900),))

    assert expected == step(state, OrderPaymentCreated(ORDER))


@pytest.mark.parametrize("state", [PLACED, NOT_PAID])
def test_a_failed_payment_makes_the_order_not_paid_and_a_repetition_publishes_again(state: Order) -> None:
    """OrderPaymentFailed publishes OrderNotPaid with the reason of the failure."""
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
def test_an_impossible_event_fails_an_assertion(state: Order | None, event: Input) -> None:
    """A payment without an order, a second outcome or a total over the limit is an error."""
    with pytest.raises(AssertionError):
        step(state, event)


COMMANDS = st.tuples(
    st.sampled_from([REQUEST, replace(REQUEST, items=ITEMS[:1]), replace(REQUEST, items=ITEMS[1:])]),
    st.sampled_from([COMMAND, ANOTHER]),
    st.integers(0, 3_600),
)


@given(
    st.lists(COMMANDS, min_size=1, max_size=20), st.sampled_from(["paid", "insufficient_funds", "too_late"]), st.data()
)
def test_any_order_and_any_repetition_is_one_order_with_one_end(
    commands: list[tuple[OrderCreateRequested, str, int]], is_paid: bool, data: st.DataObject
) -> None:
    """The first command defines the order; every repetition publishes the same events."""
    end = OrderPaymentCreated(ORDER) if is_paid else OrderPaymentFailed(ORDER, "too_late")
    first, first_id, _ = commands[0]
    ends = data.draw(st.integers(0, 3), "how often the payment outcome arrives")
    deliveries: list[tuple[Input, str, int]] = [
        commands[0],
        *data.draw(st.permutations([*commands[1:], *[(end, COMMAND, 0)] * ends])),
    ]
    state: Order | None = None
    published: dict[type[Output], set[Output]] = {}
    for event, command_id, seconds in deliveries:
        at = NOON + timedelta(seconds=seconds)
        made = domain.step(
            state, None, received(event, command_id, at), pay_within=timedelta(minutes=15), prices=PRICES
        )
        state = made.state
        for output in made.outputs:
            published.setdefault(type(output), set()).add(output)

    assert state is not None
    assert (first.items, first_id) == (state.items, state.command_id)
    assert {1} == {len(each) for each in published.values()}
    assert bool(ends) == (state.status != "payment_pending")
    assert bool(ends) == bool({OrderPaid, OrderNotPaid} & published.keys())
    assert any(command_id != first_id for _, command_id, _ in commands) == (OrderCreateRejected in published)
