"""The mailbox aggregate: a user's contact, and one mail for each finished order.

The outcome of an order can arrive before the user's address. The mailbox then keeps it. The mailbox
also paces its mails. The mailbox of an erased user has no contact and never gets one again.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, assert_never

from services.notification.email_templates import OrderOutcome, email, order_outcome
from services.notification.email_templates import subject as mail_subject
from services.notification.events import (
    EmailRequested,
    Input,
    Item,
    OrderCreated,
    OrderNotPaid,
    OrderPaid,
    UserCreated,
    UserErased,
)
from services.notification.pacing import PER_HOUR, next_due
from sidecart.chassis.currency import Currency
from sidecart.chassis.events import Received, timestamp
from sidecart.chassis.service import Step

RECENT_MAX = 100  # finished orders that a mailbox lists, newest first
WAITING_MAX = 50  # finished orders without an address; a record with their mails stays below 1 MiB


@dataclass(frozen=True, slots=True)
class Contact:
    """The recipient of a user's mails."""

    email: str
    name: str


@dataclass(frozen=True, slots=True)
class Mailbox:
    """One user's mailbox.

    `waiting` holds the outcomes that arrived before the address. `recent` lists order ids, newest
    first. `mailed` has the due times of the newest mails, in seconds since 1970.
    """

    user_id: str
    contact: Contact | None = None
    waiting: tuple[OrderOutcome, ...] = ()
    recent: tuple[str, ...] = ()
    mailed: tuple[int, ...] = ()
    erased: bool = False


@dataclass(frozen=True, slots=True)
class OrderNote:
    """The data of an order when it was placed."""

    order_id: str
    user_id: str
    items: tuple[Item, ...]
    amount_cents: int


@dataclass(frozen=True, slots=True)
class Notification:
    """The mail about one order.

    `sent_at`: the mail server accepted the mail. `failed_at`: the mail is a dead letter.
    `queued_until`: the mail entered the retry queue, with its first due time there. `not_before`:
    the mail waits until then, because its user got too many mails.
    """

    order_id: str
    user_id: str
    kind: Literal["paid", "not_paid"]
    subject: str
    sent_at: str | None = None
    failed_at: str | None = None
    queued_until: str | None = None
    not_before: str | None = None


@dataclass(frozen=True, slots=True)
class Welcome:
    """The outcomes that waited for the address.

    A repeated UserCreated uses them to request the same mails again.
    """

    outcomes: tuple[OrderOutcome, ...]


@dataclass(frozen=True, slots=True)
class Pace:
    """The time of a step, and the number of mails that a user gets in an hour (0: no limit)."""

    at: datetime
    per_hour: int

    def next(self, mailed: tuple[int, ...]) -> tuple[tuple[int, ...], str | None]:
        """Return the due times with that of one more mail, and its `not_before`."""
        kept, due = next_due(mailed, self.at, self.per_hour)
        return kept, None if due is None else timestamp(due)


State = Mailbox
Secondary = OrderNote | Notification | Welcome
SECONDARIES = {"order": OrderNote, "notification": Notification, "welcome": Welcome}


def key(event: Input) -> str | None:
    """Return the key of the user's mailbox.

    Return None for OrderCreated: its step writes a secondary record and changes no mailbox.
    """
    return None if isinstance(event, OrderCreated) else f"mailbox:{event.user_id}"


def is_creation(event: Input) -> bool:
    """Return True for UserCreated, the event that creates most mailboxes."""
    return isinstance(event, UserCreated)


def secondary_key(event: Input) -> str | None:
    """Return the key of the event's secondary record, or None if the step does not read it."""
    match event:
        case UserCreated(user_id):
            return f"welcome:{user_id}"
        case UserErased():
            return None
        case OrderCreated():
            return None  # an insert writes the order's data once, so a repetition need not read it
        case OrderPaid(order_id) | OrderNotPaid(order_id):
            return f"notification:{order_id}"
        case _:
            assert_never(event)


def subject(output: EmailRequested) -> str:
    """Return the id of the order that the mail describes."""
    return output.order_id


def step(
    state: Mailbox | None,
    secondary: Secondary | None,
    received: Received[Input],
    *,
    currency: Currency,
    mails_per_hour: int = PER_HOUR,
) -> Step[Mailbox]:
    """Save or erase a contact, save an order's data, or request the mail about a finished order."""
    event = received.event
    mailbox = state or Mailbox(event.user_id)
    pace = Pace(received.at, mails_per_hour)
    match event:
        case UserErased() | UserCreated() if mailbox.erased:
            return Step(mailbox)
        case UserErased():
            return Step(replace(mailbox, contact=None, waiting=(), erased=True), erased={})
        case UserCreated(_, email, name):
            assert secondary is None or isinstance(secondary, Welcome)
            return _register_contact(mailbox, secondary, Contact(email, name), pace, currency)
        case OrderCreated(order_id, user_id, items, amount_cents):
            note = OrderNote(order_id, user_id, items, amount_cents)
            return Step(state, {f"order:{order_id}": note})
        case OrderPaid(order_id, _, items, amount_cents):
            return _request_mail(mailbox, secondary, order_outcome(order_id, items, amount_cents), pace, currency)
        case OrderNotPaid(order_id, _, items, amount_cents, reason):
            outcome = order_outcome(order_id, items, amount_cents, reason)
            return _request_mail(mailbox, secondary, outcome, pace, currency)
        case _:
            assert_never(event)


def _register_contact(
    mailbox: Mailbox, welcome: Welcome | None, contact: Contact, pace: Pace, currency: Currency
) -> Step[Mailbox]:
    """Save the contact and request the waiting mails; a repeated event requests them again."""
    if mailbox.contact is not None:
        outcome = welcome.outcomes if welcome else ()
        return Step(mailbox, outputs=tuple(_mail(mailbox.user_id, mailbox.contact, each, currency) for each in outcome))
    outcome = mailbox.waiting
    mailed, secondaries = mailbox.mailed, dict[str, Secondary]()
    for each in outcome:
        mailed, not_before = pace.next(mailed)
        secondaries[f"notification:{each.order_id}"] = _notification(mailbox.user_id, each, not_before)
    if outcome:
        secondaries[f"welcome:{mailbox.user_id}"] = Welcome(outcome)
    registered = replace(mailbox, contact=contact, waiting=(), mailed=mailed)
    return Step(registered, secondaries, tuple(_mail(mailbox.user_id, contact, each, currency) for each in outcome))


def _request_mail(
    mailbox: Mailbox, known: Secondary | None, outcome: OrderOutcome, pace: Pace, currency: Currency
) -> Step[Mailbox]:
    """Request the mail about a finished order, or keep the outcome until the address arrives.

    The order of an erased user gets its record, which shows that the order has ended, and no mail.
    """
    if mailbox.erased:
        ended = _notification(mailbox.user_id, outcome, None)
        return Step(mailbox, {} if known else {f"notification:{outcome.order_id}": ended})
    if mailbox.contact is None:
        if any(each.order_id == outcome.order_id for each in mailbox.waiting):
            return Step(mailbox)
        assert len(mailbox.waiting) < WAITING_MAX, f"{WAITING_MAX} finished orders wait for their user's address"
        waiting = (*mailbox.waiting, outcome)
        return Step(replace(mailbox, waiting=waiting, recent=_newest(mailbox.recent, outcome.order_id)))
    mail = _mail(mailbox.user_id, mailbox.contact, outcome, currency)
    if known is not None:
        return Step(mailbox, outputs=(mail,))
    mailed, not_before = pace.next(mailbox.mailed)
    notification = _notification(mailbox.user_id, outcome, not_before)
    listed = replace(mailbox, recent=_newest(mailbox.recent, outcome.order_id), mailed=mailed)
    return Step(listed, {f"notification:{outcome.order_id}": notification}, (mail,))


def _newest(recent: tuple[str, ...], order_id: str) -> tuple[str, ...]:
    return (order_id, *(each for each in recent if each != order_id))[:RECENT_MAX]


def _notification(user_id: str, outcome: OrderOutcome, not_before: str | None) -> Notification:
    return Notification(outcome.order_id, user_id, outcome.kind, mail_subject(outcome), not_before=not_before)


def _mail(user_id: str, contact: Contact, outcome: OrderOutcome, currency: Currency) -> EmailRequested:
    return email(user_id, contact.email, outcome, currency)
