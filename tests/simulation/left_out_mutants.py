"""Mutants of the loads that are left out: each leaves out one load more than the state allows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from services.billing import domain as billing
from services.billing.domain import Account, Payment
from services.billing.events import OrderPaymentRequested
from services.notification.domain import Mailbox
from services.notification.events import OrderNotPaid, OrderPaid
from sidecart.chassis.events import Received
from sidecart.chassis.service import Service, Step
from sidecart.chassis.speculation import SpeculativeProcessor
from sidecart.testkit.simulation.mutants import without_reconciler
from sidecart.testkit.simulation.processes import MakeProcessor
from sidecart.testkit.simulation.world import Setup
from tests.simulation.mails import RECENT_MAX
from tests.simulation.upgrade import mixed

Lacks = Callable[[Any, Any], bool]


def never_looks_for_a_payment(_account: Account | None, event: Any) -> bool:
    """Charges a repeated request again, unless its id is in the outbox."""
    return isinstance(event, OrderPaymentRequested)


def ignores_what_was_dropped(account: Account | None, event: Any) -> bool:
    """Takes a payment that left the list for a new one."""
    has_list = account is not None and account.payments is not None and isinstance(event, OrderPaymentRequested)
    return has_list and event.order_id not in account.payments.latest  # type: ignore[union-attr]  # the condition before excludes None


def ignores_the_list(account: Account | None, event: Any) -> bool:
    """Takes a listed payment for a new one, by its time alone."""
    if account is None or account.payments is None or not isinstance(event, OrderPaymentRequested):
        return False
    return event.pay_before > account.payments.dropped


def takes_the_same_time_for_later(account: Account | None, event: Any) -> bool:
    """Takes the payment with the largest time that was dropped for a new one."""
    if account is None or account.payments is None or not isinstance(event, OrderPaymentRequested):
        return False
    return event.order_id not in account.payments.latest and event.pay_before >= account.payments.dropped


def takes_no_list_for_an_empty_one(account: Account | None, event: Any) -> bool:
    """Takes each payment of an account that an earlier version saved for a new one."""
    if account is not None and account.payments is None:
        return isinstance(event, OrderPaymentRequested)
    return billing.lacks_secondary(account, event)


def never_looks_for_a_notification(_mailbox: Mailbox | None, event: Any) -> bool:
    """Counts the mail of a repeated outcome again, which delays the next mails of the user."""
    return isinstance(event, OrderPaid | OrderNotPaid)


def takes_a_full_list_for_complete(mailbox: Mailbox | None, event: Any) -> bool:
    """Takes an order that left the list for a new one."""
    is_outcome = mailbox is not None and not mailbox.erased and isinstance(event, OrderPaid | OrderNotPaid)
    return is_outcome and event.order_id not in mailbox.recent  # type: ignore[union-attr]  # the condition before excludes None


def ignores_the_listed_orders(mailbox: Mailbox | None, event: Any) -> bool:
    """Takes a listed order for a new one while the list has room."""
    is_outcome = mailbox is not None and not mailbox.erased and isinstance(event, OrderPaid | OrderNotPaid)
    return is_outcome and len(mailbox.recent) < RECENT_MAX  # type: ignore[union-attr]  # the condition before excludes None


def _with(app: str, lacks: Lacks, make: MakeProcessor = SpeculativeProcessor) -> MakeProcessor:
    """Return processors that leave out the loads of one service by another rule."""

    def make_mutant(service: Service[Any, Any], *rest: Any) -> Any:
        return make(replace(service, lacks_secondary=lacks) if service.name == app else service, *rest)

    return make_mutant


def _lists_no_refusal(service: Service[Any, Any], *rest: Any) -> Any:
    """Return processors whose accounts list only the payments that took money."""

    def step(state: Any, secondary: Any, received: Received[Any]) -> Step[Any]:
        done = service.step(state, secondary, received)
        is_refused = any(isinstance(each, Payment) and each.reason for each in done.secondaries.values())
        if state is None or done.state is None or not is_refused:
            return done
        return replace(done, state=replace(done.state, payments=state.payments))

    return SpeculativeProcessor(replace(service, step=step) if service.name == "billing" else service, *rest)


LEFT_OUT_MUTANTS: Mapping[str, Setup] = {
    "no payment is looked for": without_reconciler(_with("billing", never_looks_for_a_payment)),
    "a payment that left the list counts as new": without_reconciler(_with("billing", ignores_what_was_dropped)),
    "a listed payment counts as new": without_reconciler(_with("billing", ignores_the_list)),
    "a payment at the time that was dropped counts as new": without_reconciler(
        _with("billing", takes_the_same_time_for_later)
    ),
    "a refused payment is not listed": without_reconciler(_lists_no_refusal),
    "an account of an earlier version has no payments": Setup(
        make_processor=_with("billing", takes_no_list_for_an_empty_one, mixed)
    ),
    "no notification is looked for": without_reconciler(_with("notification", never_looks_for_a_notification)),
    "an order that left the list counts as new": without_reconciler(
        _with("notification", takes_a_full_list_for_complete)
    ),
    "a listed order counts as new": without_reconciler(_with("notification", ignores_the_listed_orders)),
}
"""The mutants by name."""
