"""Every record has a limit: at its documented maximum it stays below 1 MiB, outbox included; a sidecar takes 4 MiB."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

import msgspec
import pytest

from chassis.dead_letters import DeadLetters
from chassis.errors import PermanentError
from chassis.events import BODY_BYTES_MAX
from chassis.fields import CENTS_MAX
from chassis.paged_index import PAGE_IDS_MAX
from chassis.processor import EventProcessor, Service
from chassis.record import DEFERRED_BYTES_MAX
from services.billing.app import SERVICE as BILLING
from services.notification.app import SERVICE as NOTIFICATION
from services.notification.domain import RECENT_MAX, WAITING_MAX
from services.order.app import service
from services.user.app import SERVICE as USER
from tests.unit.chassis.fakes import FakeSidecar

RECORD_BYTES_MAX = 1024 * 1024
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
USER_ID = str(UUID(int=1))
# The longest in UTF-8, the longest once HTML has escaped it, and the longest once JSON has.
LETTERS = {"four bytes": "\U0001f9e6", "escaped in HTML": '"', "escaped in JSON": "\x01"}
Event = tuple[str, dict[str, Any]]


def named(word: str) -> str:
    """An id."""
    return str(uuid5(UUID(int=0), word))


def items(letter: str) -> list[dict[str, Any]]:
    """As many and as long as an order may have, and no dearer than one may be."""
    cheap = {"sku": letter * 64, "quantity": 1, "unit_price_cents": 999_999_999}
    return [cheap] * 1_000


def finished(number: int, letter: str) -> Event:
    """The news of an order that could not be paid: the longest there is."""
    order_id = named(f"order {number}")
    order = {"order_id": order_id, "user_id": USER_ID, "items": items(letter), "amount_cents": CENTS_MAX}
    return "OrderNotPaid", {**order, "reason": "insufficient_funds"}


def user_created(letter: str) -> Event:
    """Somebody with the longest name and address."""
    return "UserCreated", {"user_id": USER_ID, "email": letter * 250 + "@x.y", "name": letter * 200}


def process(described: Service[Any, Any], events: Sequence[Event], sidecar: FakeSidecar | None = None) -> FakeSidecar:
    """Have a service take these events, one after the other, and return the store that it leaves."""
    store = sidecar or FakeSidecar()

    async def run() -> None:
        processor = EventProcessor(described, store, lambda: AT)
        for number, (kind, data) in enumerate(events):
            id_ = named(f"{kind} {number}")
            body = msgspec.json.encode({"id": id_, "type": kind, "correlationid": id_, "data": data})
            await processor.process(kind, body)

    asyncio.run(run())
    return store


def over(store: FakeSidecar) -> dict[str, int]:
    """The records that were ever too long, if other replicas had left something to do in each."""
    return {key: size for key, size in store.largest.items() if size + DEFERRED_BYTES_MAX >= RECORD_BYTES_MAX}


@pytest.mark.parametrize("letter", LETTERS.values(), ids=LETTERS)
def test_the_largest_order_fits(letter: str) -> None:
    """A thousand items, in the state and once more in the outbox, when it is placed and when it ends."""
    order_id = named("order")
    queried = {"order_id": order_id, "user_id": USER_ID, "items": items(letter)}
    failed = {"order_id": order_id, "reason": "insufficient_funds"}

    placed = process(service(timedelta(days=7)), [("OrderCreateRequested", queried), ("OrderPaymentFailed", failed)])

    record = placed.read(f"order:{order_id}")
    assert (1_000, "not_paid") == (len(record["state"]["items"]), record["state"]["status"])
    assert 2 * 64 * 1_000 < placed.largest[f"order:{order_id}"]
    assert {} == over(placed)
    assert BODY_BYTES_MAX > max(len(msgspec.json.encode(event)) for _, event in placed.published)


@pytest.mark.parametrize("letter", LETTERS.values(), ids=LETTERS)
def test_the_mailbox_with_the_most_outcomes_waiting_fits_before_and_after_its_user_comes(letter: str) -> None:
    """Right after UserCreated its outbox holds every letter and what had waited."""
    outcomes = [finished(number, letter) for number in range(WAITING_MAX)]
    mailbox = f"mailbox:{USER_ID}"

    store = process(NOTIFICATION, outcomes)
    waiting = store.read(mailbox)["state"]["waiting"]
    process(NOTIFICATION, [user_created(letter)], store)

    assert WAITING_MAX == len(waiting)
    assert WAITING_MAX == len(store.published) == len(next(iter(store.read(mailbox)["outbox"].values()))["outputs"])
    assert {} == over(store)


def test_one_order_more_than_may_wait_is_a_dead_letter() -> None:
    """The limit is kept, not only stated."""
    outcomes = [finished(number, "s") for number in range(WAITING_MAX + 1)]

    with pytest.raises(PermanentError) as fault:
        process(NOTIFICATION, outcomes)
    assert str(WAITING_MAX) in fault.value.reason


@pytest.mark.parametrize("letter", LETTERS.values(), ids=LETTERS)
def test_a_mailbox_lists_the_newest_orders_and_no_more(letter: str) -> None:
    """It does not grow with the orders that its user ever had."""
    outcomes = [finished(number, letter) for number in range(RECENT_MAX + 2)]

    store = process(NOTIFICATION, [user_created(letter), *outcomes])

    recent = store.read(f"mailbox:{USER_ID}")["state"]["recent"]
    assert [named(f"order {number}") for number in range(RECENT_MAX + 1, 1, -1)] == recent
    assert {} == over(store)


@pytest.mark.parametrize("letter", LETTERS.values(), ids=LETTERS)
def test_an_orders_note_fits(letter: str) -> None:
    """Its secondary record stands in the mailbox's outbox, too."""
    order = {"order_id": named("order"), "user_id": USER_ID, "items": items(letter), "amount_cents": CENTS_MAX}

    store = process(NOTIFICATION, [user_created(letter), ("OrderCreated", order)])

    assert 64 * 1_000 < store.largest[f"order:{named('order')}"]
    assert {} == over(store)


def test_an_account_does_not_grow_with_its_movements() -> None:
    """Each is a record of its own."""
    deposits = [
        ("AccountDepositRequested", {"deposit_id": named(f"d {number}"), "user_id": USER_ID, "amount_cents": 10**6})
        for number in range(200)
    ]

    few, many = process(BILLING, deposits[:3]), process(BILLING, deposits)

    account = f"account:{USER_ID}"
    assert 200 * 10**6 == many.read(account)["state"]["balance_cents"]
    assert 20 > many.largest[account] - few.largest[account]
    assert 2_000 > many.largest[account]


def test_a_registration_fits() -> None:
    """The longest name and address, in the state, the secondary record and the event."""
    letter = LETTERS["four bytes"]
    queried = {"user_id": USER_ID, "email": letter * 250 + "@x.y", "name": letter * 200}

    store = process(USER, [("UserCreateRequested", queried)])

    assert 10_000 > max(store.largest.values())


@pytest.mark.parametrize("byte", [b"\x00", b"\xff", b'"'], ids=["escaped in JSON", "not UTF-8", "a quotation mark"])
def test_a_dead_letter_and_a_page_of_their_index_fit(byte: bytes) -> None:
    """Whatever the event was made of, and however long it was."""
    store = FakeSidecar()

    async def run() -> None:
        letters = DeadLetters(store, lambda: AT)
        await letters.write("OrderCreated", byte * BODY_BYTES_MAX, "\x00" * 10_000, "00-1-2-01")
        for number in range(PAGE_IDS_MAX):
            await letters.write("OrderCreated", msgspec.json.encode({"id": named(str(number))}), "short", "")

    asyncio.run(run())

    assert PAGE_IDS_MAX == len(store.read("dead-index:0")["ids"])
    assert {} == over(store)
