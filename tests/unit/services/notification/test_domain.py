"""The mailbox requests a mail for each finished order, in any order of events."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notification import domain
from services.notification.domain import (
    RECENT_MAX,
    WAITING_MAX,
    Contact,
    Mailbox,
    Notification,
    OrderNote,
    Secondary,
    Welcome,
)
from services.notification.email_templates import email, order_outcome
from services.notification.events import Input, Item, OrderCreated, OrderNotPaid, OrderPaid, UserCreated, UserErased
from sidecart.chassis.currency import Currency
from sidecart.chassis.events import Received, timestamp
from sidecart.chassis.service import Step
from tests.unit.services.sample_events import ORDER, USER, received

ITEMS = (Item("tea", 2, 450),)
ANN = Contact("ann@example.com", "Ann")
USER_CREATED = UserCreated(USER, "ann@example.com", "Ann")
PAID = OrderPaid(ORDER, USER, ITEMS, 900)
OUTCOME = order_outcome(ORDER, ITEMS, 900)
MAIL = email(USER, "ann@example.com", OUTCOME, Currency())
NOTIFICATION = Notification(ORDER, USER, "paid", MAIL.subject)


def taken(
    state: Mailbox | None, secondary: Secondary | None, event: Received[Input], mails_per_hour: int = 0
) -> Step[Mailbox]:
    """Run one step with the default currency, and without pacing."""
    return domain.step(state, secondary, event, currency=Currency(), mails_per_hour=mails_per_hour)


def test_the_contact_is_saved() -> None:
    """UserCreated saves the contact; without waiting outcomes it requests no mail."""
    assert Step(Mailbox(USER, ANN)) == taken(None, None, received(USER_CREATED))


def test_an_erased_mailbox_has_no_contact_and_keeps_its_times() -> None:
    """The times of the last mails bound the search for those that still wait."""
    mailbox = Mailbox(USER, ANN, recent=(ORDER,), mailed=(7,))

    step = taken(mailbox, None, received(UserErased(USER)))

    assert Step(Mailbox(USER, recent=(ORDER,), mailed=(7,), erased=True), erased={}) == step


@pytest.mark.parametrize("event", [USER_CREATED, UserErased(USER)], ids=lambda event: type(event).__name__)
def test_no_later_event_changes_an_erased_mailbox(event: Input) -> None:
    """A late registration brings no contact."""
    erased = Mailbox(USER, erased=True)

    assert Step(erased) == taken(erased, None, received(event))


def test_a_finished_order_of_an_erased_user_has_a_record_and_no_mail() -> None:
    """Without the record, its command would be repeated: the payment may have been lost."""
    erased = Mailbox(USER, erased=True)

    assert Step(erased, {f"notification:{ORDER}": NOTIFICATION}) == taken(erased, None, received(PAID))
    assert Step(erased) == taken(erased, NOTIFICATION, received(PAID))


def test_outcomes_that_wait_are_dropped_by_an_erasure() -> None:
    """An erasure may overtake the registration; then nothing waits for an address any more."""
    waiting = taken(None, None, received(PAID)).state

    step = taken(waiting, None, received(UserErased(USER)))

    assert waiting is not None
    assert Mailbox(USER, recent=waiting.recent, erased=True) == step.state


def test_order_created_saves_the_order_and_changes_no_mailbox() -> None:
    """OrderCreated gives the same secondary record with and without a mailbox."""
    placed = OrderCreated(ORDER, USER, ITEMS, 900)
    note = OrderNote(ORDER, USER, ITEMS, 900)

    assert Step(None, {f"order:{ORDER}": note}) == taken(None, None, received(placed))
    assert Step(Mailbox(USER, ANN), {f"order:{ORDER}": note}) == taken(Mailbox(USER, ANN), None, received(placed))


def test_a_finished_order_requests_a_mail_to_a_known_contact() -> None:
    """The step lists the order, writes the notification and publishes EmailRequested."""
    step = taken(Mailbox(USER, ANN), None, received(PAID))

    assert Step(Mailbox(USER, ANN, recent=(ORDER,)), {f"notification:{ORDER}": NOTIFICATION}, (MAIL,)) == step


def test_a_repeated_outcome_requests_the_same_mail_again() -> None:
    """The step requests the mail even if it was sent; the Mailer checks `sent_at`."""
    mailbox = Mailbox(USER, ANN, recent=(ORDER,))

    assert Step(mailbox, {}, (MAIL,)) == taken(mailbox, replace(NOTIFICATION, sent_at="x"), received(PAID))


def test_outcomes_that_arrive_before_the_address_wait_for_it() -> None:
    """UserCreated requests the waiting mails, and a repeated UserCreated requests them again."""
    early = taken(None, None, received(PAID))
    again = taken(early.state, None, received(PAID))
    registered = taken(again.state, None, received(USER_CREATED))
    repeated = taken(registered.state, registered.secondaries[f"welcome:{USER}"], received(USER_CREATED))

    assert Step(Mailbox(USER, None, (OUTCOME,), (ORDER,))) == early == again
    assert {f"notification:{ORDER}": NOTIFICATION, f"welcome:{USER}": Welcome((OUTCOME,))} == registered.secondaries
    assert Mailbox(USER, ANN, (), (ORDER,)) == registered.state == repeated.state
    assert (MAIL,) == registered.outputs == repeated.outputs
    assert {} == repeated.secondaries


def test_one_waiting_outcome_too_many_fails_an_assertion() -> None:
    """The step raises AssertionError, so the event becomes a dead letter with that reason."""
    waiting = tuple(
        order_outcome(f"{number:08d}-0000-4000-8000-000000000000", ITEMS, 1) for number in range(WAITING_MAX)
    )

    with pytest.raises(AssertionError, match="wait for their user's address"):
        taken(Mailbox(USER, None, waiting), None, received(PAID))


def test_the_list_of_orders_is_bounded_newest_first() -> None:
    """`recent` starts with the newest order and drops the oldest one."""
    recent = tuple(str(number) for number in range(RECENT_MAX))
    step = taken(Mailbox(USER, ANN, recent=recent), None, received(PAID))

    assert step.state is not None
    assert (ORDER, *recent[:-1]) == step.state.recent


def order_id(number: int) -> str:
    """Return the id of order 1, 2, ..."""
    return f"00000000-0000-4000-8000-{number:012d}"


IDS = st.integers(1, 4).map(order_id)
EVENTS: st.SearchStrategy[Input] = st.one_of(
    st.just(USER_CREATED),
    st.builds(OrderCreated, IDS, st.just(USER), st.just(ITEMS), st.just(900)),
    st.builds(OrderPaid, IDS, st.just(USER), st.just(ITEMS), st.just(900)),
)


@given(st.lists(EVENTS, max_size=30))
def test_any_order_and_any_repetition_requests_a_mail_for_each_finished_order(events: list[Input]) -> None:
    """With a known address each order has one notification, one Message-ID and one list entry."""
    state: Mailbox | None = None
    secondaries: dict[str, domain.Secondary] = {}
    message_ids: dict[str, set[str]] = {}
    for event in [*events, USER_CREATED]:
        key = domain.secondary_key(event)
        step = taken(state, None if key is None else secondaries.get(key), received(event))
        state = step.state
        assert all(secondaries.setdefault(name, secondary) == secondary for name, secondary in step.secondaries.items())
        for mail in step.outputs:
            message_ids.setdefault(mail.order_id, set()).add(mail.message_id)

    finished = {event.order_id for event in events if isinstance(event, OrderPaid | OrderNotPaid)}
    assert finished == message_ids.keys()
    assert finished == {key.partition(":")[2] for key in secondaries if key.startswith("notification:")}
    assert all(len(messages) == 1 for messages in message_ids.values())
    assert state is not None
    assert finished == set(state.recent)


def test_an_excess_mail_waits_for_its_hour() -> None:
    """The notification says until when; a repeated event requests the same mail and counts once."""
    at = int(received(PAID).at.timestamp())
    first = taken(Mailbox(USER, ANN), None, received(PAID), 1)
    other = replace(PAID, order_id=ORDER.replace("c1", "c2"))
    second = taken(first.state, None, received(other), 1)
    waiting = second.secondaries[f"notification:{other.order_id}"]
    assert isinstance(waiting, Notification)
    again = taken(second.state, waiting, received(other), 1)

    assert {f"notification:{ORDER}": NOTIFICATION} == first.secondaries
    assert timestamp(received(PAID).at.replace(microsecond=0) + timedelta(hours=1)) == waiting.not_before
    assert second.state is not None
    assert (at + 3600,) == second.state.mailed
    assert Step(second.state, {}, second.outputs) == again


def test_mails_that_waited_for_the_address_are_paced() -> None:
    """UserCreated requests all of them, and each excess one has a time of its own."""
    mailbox: Mailbox | None = None
    orders = [ORDER.replace("c1", f"c{number}") for number in range(1, 4)]
    for order_id in orders:
        mailbox = taken(mailbox, None, received(replace(PAID, order_id=order_id)), 1).state
    step = taken(mailbox, None, received(USER_CREATED), 1)
    found = [step.secondaries[f"notification:{order_id}"] for order_id in orders]

    times = [each.not_before for each in found if isinstance(each, Notification)]
    assert 3 == len(step.outputs) == len(times) == len(set(times))
    assert [None, *sorted(filter(None, times))] == times
