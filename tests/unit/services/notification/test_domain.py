"""The mailbox: news and address may come in any order, and each order is told of."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.processor import Step
from services.notification import domain
from services.notification.domain import RECENT_MAX, WAITING_MAX, Contact, Mailbox, Notification, OrderNote, Welcome
from services.notification.email_templates import email, order_outcome
from services.notification.events import Input, Item, OrderCreated, OrderNotPaid, OrderPaid, UserCreated
from tests.unit.services.sample_events import ORDER, USER, received

ITEMS = (Item("tea", 2, 450),)
ANN = Contact("ann@example.com", "Ann")
MET = UserCreated(USER, "ann@example.com", "Ann")
PAID = OrderPaid(ORDER, USER, ITEMS, 900)
OUTCOME = order_outcome(ORDER, ITEMS, 900)
MAIL = email(USER, "ann@example.com", "Ann", OUTCOME)
NOTED = Notification(ORDER, USER, "paid", MAIL.subject)


def test_an_address_is_kept() -> None:
    """Nothing waits for it, so nothing is sent."""
    assert Step(Mailbox(USER, ANN)) == domain.step(None, None, received(MET))


def test_an_order_is_noted_once_and_moves_no_mailbox() -> None:
    """The note is a secondary record, and those are written once: told again it is the same."""
    placed = OrderCreated(ORDER, USER, ITEMS, 900)
    note = OrderNote(ORDER, USER, ITEMS, 900)

    assert Step(None, {f"order:{ORDER}": note}) == domain.step(None, None, received(placed))
    assert Step(Mailbox(USER, ANN), {f"order:{ORDER}": note}) == domain.step(Mailbox(USER, ANN), None, received(placed))


def test_a_finished_order_of_somebody_known_is_told_of() -> None:
    """The mail is asked for, listed and noted."""
    step = domain.step(Mailbox(USER, ANN), None, received(PAID))

    assert Step(Mailbox(USER, ANN, recent=(ORDER,)), {f"notification:{ORDER}": NOTED}, (MAIL,)) == step


def test_told_again_the_same_mail_is_asked_for_again() -> None:
    """Whether it was sent is for the sender to know."""
    mailbox = Mailbox(USER, ANN, recent=(ORDER,))

    assert Step(mailbox, {}, (MAIL,)) == domain.step(mailbox, replace(NOTED, sent_at="x"), received(PAID))


def test_outcomes_that_came_before_the_address_waits_for_it() -> None:
    """It is told once the address is known, and again when that is repeated."""
    early = domain.step(None, None, received(PAID))
    again = domain.step(early.state, None, received(PAID))
    met = domain.step(again.state, None, received(MET))
    repeated = domain.step(met.state, met.secondaries[f"welcome:{USER}"], received(MET))

    assert Step(Mailbox(USER, None, (OUTCOME,), (ORDER,))) == early == again
    assert {f"notification:{ORDER}": NOTED, f"welcome:{USER}": Welcome((OUTCOME,))} == met.secondaries
    assert Mailbox(USER, ANN, (), (ORDER,)) == met.state == repeated.state
    assert (MAIL,) == met.outputs == repeated.outputs
    assert {} == repeated.secondaries


def test_one_more_than_may_wait_is_an_assertion() -> None:
    """A dead letter with that reason, which keeps the event."""
    waiting = tuple(
        order_outcome(f"{number:08d}-0000-4000-8000-000000000000", ITEMS, 1) for number in range(WAITING_MAX)
    )

    with pytest.raises(AssertionError, match="wait for their user's address"):
        domain.step(Mailbox(USER, None, waiting), None, received(PAID))


def test_the_list_of_orders_is_bounded_newest_first() -> None:
    """It never grows with history."""
    recent = tuple(str(number) for number in range(RECENT_MAX))
    step = domain.step(Mailbox(USER, ANN, recent=recent), None, received(PAID))

    assert step.state is not None
    assert (ORDER, *recent[:-1]) == step.state.recent


def order_id(number: int) -> str:
    """The id of one of a few orders."""
    return f"00000000-0000-4000-8000-{number:012d}"


IDS = st.integers(1, 4).map(order_id)
EVENTS: st.SearchStrategy[Input] = st.one_of(
    st.just(MET),
    st.builds(OrderCreated, IDS, st.just(USER), st.just(ITEMS), st.just(900)),
    st.builds(OrderPaid, IDS, st.just(USER), st.just(ITEMS), st.just(900)),
)


@given(st.lists(EVENTS, max_size=30))
def test_any_order_and_any_repetition_tells_of_each_finished_order(events: list[Input]) -> None:
    """Once the address is known each has one notification, one message id, and is listed."""
    state: Mailbox | None = None
    secondaries: dict[str, domain.Secondary] = {}
    queried: dict[str, set[str]] = {}
    for event in [*events, MET]:
        key = domain.secondary_key(event)
        step = domain.step(state, None if key is None else secondaries.get(key), received(event))
        state = step.state
        assert all(secondaries.setdefault(name, secondary) == secondary for name, secondary in step.secondaries.items())
        for mail in step.outputs:
            queried.setdefault(mail.order_id, set()).add(mail.message_id)

    finished = {event.order_id for event in events if isinstance(event, OrderPaid | OrderNotPaid)}
    assert finished == queried.keys()
    assert finished == {key.partition(":")[2] for key in secondaries if key.startswith("notification:")}
    assert all(len(messages) == 1 for messages in queried.values())
    assert state is not None
    assert finished == set(state.recent)
