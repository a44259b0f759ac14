"""Whether flows have ended at the Notification Service, and at Billing."""

import asyncio
import json
from typing import Any, cast

from chassis.serve import Read
from chassis.sidecar import HttpSidecar
from services.billing import app as billing
from services.notification import flows
from tests.unit.gateway.fakes import FakeSidecar


def stored(records: dict[str, Any]) -> FakeSidecar:
    """A store with these records."""
    sidecar = FakeSidecar()
    for key, record in records.items():
        sidecar.put(key, json.dumps(record).encode())
    return sidecar


def test_an_order_has_ended_with_its_note_and_a_mail_that_is_sent_or_waits() -> None:
    """A mail that the retry queue holds is in safe hands; one that is over there is not sent by that."""
    sent, unsent = {"sent_at": "2026-01-01T00:00:00.000Z"}, {"sent_at": None}
    cases: dict[str, tuple[dict[str, Any], bool]] = {
        "sent": ({"order": {}, "notification": sent}, True),
        "no note": ({"notification": sent}, False),
        "noted only": ({"order": {}}, False),
        "not sent": ({"order": {}, "notification": unsent}, False),
        "waits": ({"order": {}, "notification": unsent, "aside": {"over": False}}, True),
        "over": ({"order": {}, "notification": unsent, "aside": {"over": True}}, False),
    }
    records = {f"{kind}:{name}": record for name, (kinds, _) in cases.items() for kind, record in kinds.items()}

    assert [ended for _, ended in cases.values()] == asyncio.run(flows.orders_ended(stored(records), list(cases)))


def test_a_registration_has_ended_with_the_contact() -> None:
    """A mailbox without one was made by an order's outcome."""
    records = {
        "mailbox:known": {"state": {"user_id": "known", "contact": {"email": "a@b.c", "name": "Ann"}}, "log": {}},
        "mailbox:early": {"state": {"user_id": "early", "contact": None}, "log": {}},
        "mailbox:empty": {"state": None, "log": {}},
    }
    ids = ["known", "early", "empty", "missing"]

    assert [True, False, False, False] == asyncio.run(flows.users_ended(stored(records), ids))


def test_a_registration_has_ended_at_billing_once_the_account_is_announced() -> None:
    """An account that a deposit opened is not announced yet."""
    account = {"user_id": "u", "account_id": "a", "balance_cents": 0}
    records = {
        "account:announced": {"state": {**account, "announced": True}, "log": {}},
        "account:early": {"state": {**account, "announced": False}, "log": {}},
        "account:empty": {"state": None, "log": {}},
    }
    reads: dict[str, Read] = {read.path: read for read in billing.wire(cast(HttpSidecar, stored(records))).reads}

    async def ask() -> bytes:
        answer = await reads["/unfinished/user/{ids}"].find({"ids": "announced,early,empty,missing"})
        return answer or b""

    assert {"unfinished": ["early", "empty", "missing"]} == json.loads(asyncio.run(ask()))
