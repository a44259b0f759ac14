"""Whether flows have ended at the Notification Service, and at Billing."""

import asyncio
import json
from datetime import timedelta
from typing import Any, cast

from services.billing import app as billing
from services.notification import flows
from services.notification.flows import settled_mails
from services.notification.mail.retry_queue import INDEX
from sidecart.chassis.server.serve import Read
from sidecart.chassis.sidecar import Sidecar
from tests.unit.edge.fakes import FakeSidecar
from tests.unit.services.notification.mail.harness import OTHER, MailHarness, Script, play, requested, serving
from tests.unit.services.sample_events import ORDER


def stored(records: dict[str, Any]) -> FakeSidecar:
    """Return a store with these records."""
    sidecar = FakeSidecar()
    for key, record in records.items():
        sidecar.put(key, json.dumps(record).encode())
    return sidecar


def test_an_order_has_ended_with_its_saved_data_and_a_settled_mail() -> None:
    """A mail is settled if it is sent, given up, or an unfinished entry of the retry queue."""
    at = "2026-01-01T00:00:00.000Z"
    notification: dict[str, Any] = {"order_id": "o", "user_id": "u", "kind": "paid", "subject": "s"}
    queued = {"event": "{}", "since": at, "due": at, "done": False}
    cases: dict[str, tuple[dict[str, Any], bool]] = {
        "sent": ({"order": {}, "notification": {**notification, "sent_at": at}}, True),
        "given up": ({"order": {}, "notification": {**notification, "failed_at": at}}, True),
        "no saved data": ({"notification": {**notification, "sent_at": at}}, False),
        "saved data only": ({"order": {}}, False),
        "not sent": ({"order": {}, "notification": notification}, False),
        "waits": ({"order": {}, "notification": {**notification, "queued_until": at}, "mail-retry": queued}, True),
        "done": (
            {"order": {}, "notification": {**notification, "queued_until": at}, "mail-retry": {**queued, "done": True}},
            False,
        ),
    }
    records = {f"{kind}:{name}": record for name, (kinds, _) in cases.items() for kind, record in kinds.items()}
    records[f"{INDEX}:0"] = {"ids": list(cases)}

    assert [ended for _, ended in cases.values()] == asyncio.run(flows.orders_ended(stored(records), list(cases)))


def test_a_settled_mail_is_sent_or_queued_and_listed() -> None:
    """An unrequested mail and an unlisted entry are not settled."""

    async def scenario(harness: MailHarness) -> None:
        async with serving(Script(answers={b"RCPT": b"451 later"})) as server:
            process = harness.process(server.port)
            assert set() == await settled_mails(harness.store, [ORDER, OTHER])
            await process.handle(requested())
            assert {ORDER} == await settled_mails(harness.store, [ORDER, OTHER])
            harness.store.put("mail-retry-index:0", b'{"ids":[]}')
            assert set() == await settled_mails(harness.store, [ORDER])
            await process.handle(requested())
            assert {ORDER} == await settled_mails(harness.store, [ORDER])
            server.script.answers = {}
            harness.now += timedelta(minutes=1)
            await process.retries.retry_due()
            assert {ORDER} == await settled_mails(harness.store, [ORDER, OTHER])
            assert [] == harness.index

    play(scenario)


def test_a_registration_has_ended_with_the_contact() -> None:
    """A mailbox without a contact comes from an early outcome and has not ended."""
    records = {
        "mailbox:known": {"state": {"user_id": "known", "contact": {"email": "a@b.c", "name": "Ann"}}, "outbox": {}},
        "mailbox:early": {"state": {"user_id": "early", "contact": None}, "outbox": {}},
        "mailbox:empty": {"state": None, "outbox": {}},
    }
    ids = ["known", "early", "empty", "missing"]

    assert [True, False, False, False] == asyncio.run(flows.users_ended(stored(records), ids))


def test_an_erasure_ends_the_flows_of_its_user() -> None:
    """A registration and an order of an erased user have ended, and so has the erasure."""
    records = {
        "mailbox:erased": {"state": {"user_id": "erased", "contact": None, "erased": True}, "outbox": {}},
        "mailbox:known": {"state": {"user_id": "known", "contact": None}, "outbox": {}},
        "order:o-1": {"user_id": "erased"},
        "notification:o-1": {"order_id": "o-1", "user_id": "erased", "kind": "paid", "subject": "s"},
        "order:o-2": {"user_id": "known"},
        "notification:o-2": {"order_id": "o-2", "user_id": "known", "kind": "paid", "subject": "s"},
        "order:o-3": {"user_id": "erased"},  # its payment has no outcome yet
    }
    users, orders = ["erased", "known", "missing"], ["o-1", "o-2", "o-3"]

    assert [True, False, False] == asyncio.run(flows.users_ended(stored(records), users))
    assert [True, False, False] == asyncio.run(flows.erasures_ended(stored(records), users))
    assert [True, False, False] == asyncio.run(flows.orders_ended(stored(records), orders))


def test_an_erasure_has_ended_at_billing_once_the_account_is_erased() -> None:
    """An erased account needs no announcement either."""
    account = {"user_id": "u", "account_id": "a", "balance_cents": 0}
    records = {
        "account:erased": {"state": {**account, "erased": True}, "outbox": {}},
        "account:open": {"state": {**account, "announced": True}, "outbox": {}},
    }
    reads: dict[str, Read] = {read.path: read for read in billing.wire(cast(Sidecar, stored(records))).reads}

    async def find(kind: str) -> Any:
        return json.loads(await reads[f"/unfinished/{kind}/{{ids}}"].find({"ids": "erased,open,missing"}) or b"")

    assert {"unfinished": ["open", "missing"]} == asyncio.run(find("erasure"))
    assert {"unfinished": ["missing"]} == asyncio.run(find("user"))


def test_a_registration_has_ended_at_billing_once_the_account_is_announced() -> None:
    """An account that a deposit opened has not ended until UserCreated announces it."""
    account = {"user_id": "u", "account_id": "a", "balance_cents": 0}
    records = {
        "account:announced": {"state": {**account, "announced": True}, "outbox": {}},
        "account:early": {"state": {**account, "announced": False}, "outbox": {}},
        "account:empty": {"state": None, "outbox": {}},
    }
    reads: dict[str, Read] = {read.path: read for read in billing.wire(cast(Sidecar, stored(records))).reads}

    async def find_unfinished() -> bytes:
        answer = await reads["/unfinished/user/{ids}"].find({"ids": "announced,early,empty,missing"})
        return answer or b""

    assert {"unfinished": ["early", "empty", "missing"]} == json.loads(asyncio.run(find_unfinished()))
