"""At its documented limits every record stays below 1 MiB, including its outbox.

A sidecar accepts 4 MiB.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

import msgspec
import pytest

from services.billing.app import SERVICE as BILLING
from services.notification.app import SERVICE as NOTIFICATION
from services.notification.domain import RECENT_MAX, WAITING_MAX
from services.order.app import service
from services.user.app import SERVICE as USER
from sidecart.chassis.dead_letters import DeadLetters
from sidecart.chassis.deferral import DEFERRED_BYTES_MAX
from sidecart.chassis.errors import PermanentError
from sidecart.chassis.events import BODY_BYTES_MAX
from sidecart.chassis.fields import NATURAL_MAX
from sidecart.chassis.paged_index import PAGE_IDS_MAX
from sidecart.chassis.service import Service
from sidecart.chassis.speculation import SpeculativeProcessor
from tests.unit.chassis.fakes import FakeSidecar

RECORD_BYTES_MAX = 1024 * 1024
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
USER_ID = str(UUID(int=1))
# The longest character in UTF-8, after HTML escaping, and after JSON escaping.
CHARACTERS = {"four bytes": "\U0001f9e6", "escaped in HTML": '"', "escaped in JSON": "\x01"}
Event = tuple[str, dict[str, Any]]


def uuid_of(word: str) -> str:
    """Return a UUID for this word."""
    return str(uuid5(UUID(int=0), word))


def items(character: str) -> list[dict[str, Any]]:
    """Return the maximum number of items, each with the longest sku, within the maximum total."""
    cheap = {"sku": character * 64, "quantity": 1, "unit_price_cents": 999_999_999}
    return [cheap] * 1_000


def finished(number: int, character: str) -> Event:
    """Return the longest OrderNotPaid event."""
    order_id = uuid_of(f"order {number}")
    order = {"order_id": order_id, "user_id": USER_ID, "items": items(character), "amount_cents": NATURAL_MAX}
    return "OrderNotPaid", {**order, "reason": "insufficient_funds"}


def user_created(character: str) -> Event:
    """Return a UserCreated event with the longest name and address."""
    return "UserCreated", {"user_id": USER_ID, "email": character * 250 + "@x.y", "name": character * 200}


def process(definition: Service[Any, Any], events: Sequence[Event], sidecar: FakeSidecar | None = None) -> FakeSidecar:
    """Process the events one by one and return the store."""
    store = sidecar or FakeSidecar()

    async def run() -> None:
        processor = SpeculativeProcessor(definition, store, lambda: AT)
        for number, (kind, data) in enumerate(events):
            id_ = uuid_of(f"{kind} {number}")
            attributes = {"id": id_, "type": kind, "source": definition.publishers[kind], "correlationid": id_}
            body = msgspec.json.encode({**attributes, "data": data})
            await processor.process(kind, body)

    asyncio.run(run())
    return store


def oversized(store: FakeSidecar) -> dict[str, int]:
    """Return the records that were too large, with room for other replicas' outbox entries."""
    return {key: size for key, size in store.largest.items() if size + DEFERRED_BYTES_MAX >= RECORD_BYTES_MAX}


@pytest.mark.parametrize("character", CHARACTERS.values(), ids=CHARACTERS)
def test_the_largest_order_fits(character: str) -> None:
    """The state and the outbox each hold 1,000 items, at placement and at the final state."""
    order_id = uuid_of("order")
    command = {"order_id": order_id, "user_id": USER_ID, "items": items(character)}
    failed = {"order_id": order_id, "reason": "insufficient_funds"}

    prices = {item["sku"]: item["unit_price_cents"] for item in items(character)}
    events: list[Event] = [("OrderCreateRequested", command), ("OrderPaymentFailed", failed)]
    placed = process(service(timedelta(days=7), prices), events)

    record = placed.read(f"order:{order_id}")
    assert (1_000, "not_paid") == (len(record["state"]["items"]), record["state"]["status"])
    assert 2 * 64 * 1_000 < placed.largest[f"order:{order_id}"]
    assert {} == oversized(placed)
    assert BODY_BYTES_MAX > max(len(msgspec.json.encode(event)) for _, event in placed.published)


@pytest.mark.parametrize("character", CHARACTERS.values(), ids=CHARACTERS)
def test_a_mailbox_with_the_most_waiting_outcomes_fits_before_and_after_user_created(character: str) -> None:
    """After UserCreated the outbox holds every mail and all outcomes that waited."""
    outcomes = [finished(number, character) for number in range(WAITING_MAX)]
    mailbox = f"mailbox:{USER_ID}"

    store = process(NOTIFICATION, outcomes)
    waiting = store.read(mailbox)["state"]["waiting"]
    process(NOTIFICATION, [user_created(character)], store)

    assert WAITING_MAX == len(waiting)
    assert WAITING_MAX == len(store.published) == len(next(iter(store.read(mailbox)["outbox"].values()))["outputs"])
    assert {} == oversized(store)


def test_one_order_more_than_may_wait_is_a_dead_letter() -> None:
    """One outcome over WAITING_MAX raises PermanentError, which names the limit."""
    outcomes = [finished(number, "s") for number in range(WAITING_MAX + 1)]

    with pytest.raises(PermanentError) as fault:
        process(NOTIFICATION, outcomes)
    assert str(WAITING_MAX) in fault.value.reason


@pytest.mark.parametrize("character", CHARACTERS.values(), ids=CHARACTERS)
def test_a_mailbox_lists_the_newest_orders_and_no_more(character: str) -> None:
    """`recent` holds the newest RECENT_MAX orders, newest first."""
    outcomes = [finished(number, character) for number in range(RECENT_MAX + 2)]

    store = process(NOTIFICATION, [user_created(character), *outcomes])

    recent = store.read(f"mailbox:{USER_ID}")["state"]["recent"]
    assert [uuid_of(f"order {number}") for number in range(RECENT_MAX + 1, 1, -1)] == recent
    assert {} == oversized(store)


@pytest.mark.parametrize("character", CHARACTERS.values(), ids=CHARACTERS)
def test_the_saved_data_of_an_order_fits(character: str) -> None:
    """The secondary record `order:<order_id>` with 1,000 items stays within the limit."""
    order = {"order_id": uuid_of("order"), "user_id": USER_ID, "items": items(character), "amount_cents": NATURAL_MAX}

    store = process(NOTIFICATION, [user_created(character), ("OrderCreated", order)])

    assert 64 * 1_000 < store.largest[f"order:{uuid_of('order')}"]
    assert {} == oversized(store)


def test_an_account_does_not_grow_with_its_deposits() -> None:
    """Each deposit has its own record, so 200 deposits leave the account below 2,000 bytes."""
    deposits = [
        ("AccountDepositRequested", {"deposit_id": uuid_of(f"d {number}"), "user_id": USER_ID, "amount_cents": 10**6})
        for number in range(200)
    ]

    few, many = process(BILLING, deposits[:3]), process(BILLING, deposits)

    account = f"account:{USER_ID}"
    assert 200 * 10**6 == many.read(account)["state"]["balance_cents"]
    assert 20 > many.largest[account] - few.largest[account]
    assert 2_000 > many.largest[account]


def test_a_registration_fits() -> None:
    """The longest name and address fit into the state, the secondary record and the event."""
    character = CHARACTERS["four bytes"]
    command = {"user_id": USER_ID, "email": character * 250 + "@x.y", "name": character * 200}

    store = process(USER, [("UserCreateRequested", command)])

    assert 10_000 > max(store.largest.values())


@pytest.mark.parametrize("byte", [b"\x00", b"\xff", b'"'], ids=["escaped in JSON", "not UTF-8", "a quotation mark"])
def test_a_dead_letter_and_a_page_of_the_index_fit(byte: bytes) -> None:
    """A dead letter of the largest event fits, whatever bytes the event contains."""
    store = FakeSidecar()

    async def run() -> None:
        letters = DeadLetters(store, lambda: AT)
        await letters.write("OrderCreated", byte * BODY_BYTES_MAX, "\x00" * 10_000, "00-1-2-01")
        for number in range(PAGE_IDS_MAX):
            await letters.write("OrderCreated", msgspec.json.encode({"id": uuid_of(str(number))}), "short", "")

    asyncio.run(run())

    assert PAGE_IDS_MAX == len(store.read("dead-index:0")["ids"])
    assert {} == oversized(store)
