"""The mailbox: whom to write to, and what each finished order's mail is; outcomes may come before the address."""

from dataclasses import dataclass, replace
from typing import Literal, assert_never

from chassis.events import Received
from chassis.processor import Step
from services.notification.email_templates import OrderOutcome, email, order_outcome, subject
from services.notification.events import (
    EmailRequested,
    Input,
    Item,
    OrderCreated,
    OrderNotPaid,
    OrderPaid,
    UserCreated,
)

RECENT_MAX = 100  # finished orders that a mailbox lists, newest first
WAITING_MAX = 50  # finished orders that wait for their user's address; with their mails below 1 MiB


@dataclass(frozen=True, slots=True)
class Contact:
    """Whom to write to."""

    email: str
    name: str


@dataclass(frozen=True, slots=True)
class Mailbox:
    """One user's mailbox; `waiting` is what was finished before we knew the address."""

    user_id: str
    contact: Contact | None = None
    waiting: tuple[OrderOutcome, ...] = ()
    recent: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OrderNote:
    """An order's data as it was placed."""

    order_id: str
    user_id: str
    items: tuple[Item, ...]
    amount_cents: int


@dataclass(frozen=True, slots=True)
class Notification:
    """One order's mail; `sent_at` is set once the mail server took it, `failed_at` once it is a dead mail.

    `queued_until` says that the mail was put into the retry queue, and when it was first due there.
    """

    order_id: str
    user_id: str
    kind: Literal["paid", "not_paid"]
    subject: str
    sent_at: str | None = None
    failed_at: str | None = None
    queued_until: str | None = None


@dataclass(frozen=True, slots=True)
class Welcome:
    """The outcomes that had waited for the address, so that a repeated UserCreated can ask for the same mails."""

    outcomes: tuple[OrderOutcome, ...]


Secondary = OrderNote | Notification | Welcome


def key(event: Input) -> str | None:
    """One record a user; an order's data is nobody's record, only a note."""
    return None if isinstance(event, OrderCreated) else f"mailbox:{event.user_id}"


def is_creation(event: Input) -> bool:
    """Most mailboxes begin with their user's registration."""
    return isinstance(event, UserCreated)


def secondary_key(event: Input) -> str | None:
    """Where what this event led to is kept, if the step has to know."""
    match event:
        case UserCreated(user_id):
            return f"welcome:{user_id}"
        case OrderCreated():
            return None  # the note is written once, whoever asks again
        case OrderPaid(order_id) | OrderNotPaid(order_id):
            return f"notification:{order_id}"
        case _:
            assert_never(event)


def order_of(output: EmailRequested) -> str:
    """The order that a mail is about."""
    return output.order_id


def step(state: Mailbox | None, secondary: Secondary | None, received: Received[Input]) -> Step[Mailbox]:
    """Learn an address, note an order, or write the mail about a finished one."""
    event = received.event
    mailbox = state or Mailbox(event.user_id)
    match event:
        case UserCreated(_, email, name):
            assert secondary is None or isinstance(secondary, Welcome)
            return _register_contact(mailbox, secondary, Contact(email, name))
        case OrderCreated(order_id, user_id, items, amount_cents):
            note = OrderNote(order_id, user_id, items, amount_cents)
            return Step(state, {f"order:{order_id}": note})
        case OrderPaid(order_id, _, items, amount_cents):
            return _request_mail(mailbox, secondary, order_outcome(order_id, items, amount_cents))
        case OrderNotPaid(order_id, _, items, amount_cents, reason):
            return _request_mail(mailbox, secondary, order_outcome(order_id, items, amount_cents, reason))
        case _:
            assert_never(event)


def _register_contact(mailbox: Mailbox, welcome: Welcome | None, contact: Contact) -> Step[Mailbox]:
    """Keep the address; write what had waited for it, and write it again when the event is repeated."""
    if mailbox.contact is not None:
        outcome = welcome.outcomes if welcome else ()
        return Step(mailbox, outputs=tuple(_mail(mailbox.user_id, mailbox.contact, each) for each in outcome))
    outcome = mailbox.waiting
    secondaries: dict[str, Secondary] = {
        f"notification:{each.order_id}": _notification(mailbox.user_id, each) for each in outcome
    }
    if outcome:
        secondaries[f"welcome:{mailbox.user_id}"] = Welcome(outcome)
    registered = replace(mailbox, contact=contact, waiting=())
    return Step(registered, secondaries, tuple(_mail(mailbox.user_id, contact, each) for each in outcome))


def _request_mail(mailbox: Mailbox, known: Secondary | None, outcome: OrderOutcome) -> Step[Mailbox]:
    """Write the mail about a finished order, or remember it until the address is known."""
    if mailbox.contact is None:
        if any(each.order_id == outcome.order_id for each in mailbox.waiting):
            return Step(mailbox)
        assert len(mailbox.waiting) < WAITING_MAX, f"{WAITING_MAX} finished orders wait for their user's address"
        waiting = (*mailbox.waiting, outcome)
        return Step(replace(mailbox, waiting=waiting, recent=_newest(mailbox.recent, outcome.order_id)))
    mail = _mail(mailbox.user_id, mailbox.contact, outcome)
    if known is not None:
        return Step(mailbox, outputs=(mail,))
    notification = _notification(mailbox.user_id, outcome)
    listed = replace(mailbox, recent=_newest(mailbox.recent, outcome.order_id))
    return Step(listed, {f"notification:{outcome.order_id}": notification}, (mail,))


def _newest(recent: tuple[str, ...], order_id: str) -> tuple[str, ...]:
    return (order_id, *(each for each in recent if each != order_id))[:RECENT_MAX]


def _notification(user_id: str, outcome: OrderOutcome) -> Notification:
    return Notification(outcome.order_id, user_id, outcome.kind, subject(outcome))


def _mail(user_id: str, contact: Contact, outcome: OrderOutcome) -> EmailRequested:
    return email(user_id, contact.email, contact.name, outcome)
