"""Tests of the auditor's view of faults: affected requests, recovery times, and second mails that a
fault explains.
"""

from __future__ import annotations

import threading
import uuid
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sidecart.launcher.lifecycle.system import System
from tests.faults import auditor as module
from tests.faults.auditor import EXPLAINED_SECONDS, Answer, Audit, Auditor, effects, message_id
from tests.faults.injector import InjectedFault
from tests.faults.ledger import Ledger

KILLED = InjectedFault("kill", "notification", 100.0, 100.0)
FROZEN = InjectedFault("freeze", "postgres", 100.0, 121.0)
TOO_LATE = KILLED.ended + EXPLAINED_SECONDS + 1.0


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """Return a ledger of three orders: answered before the fault, held during it, sent after it."""
    made = Ledger(tmp_path / "ledger.jsonl")
    for key, queried, answered in (("before", 90.0, 95.0), ("over", 99.0, 107.0), ("after", 101.0, 103.5)):
        intent = made.intend(key, "/order/create", {})
        made.answered(intent, 201, {"location": f"/order/{key}"}, {})
        intent.asked_at, intent.answered_at = queried, answered
    made.close()
    return made


def test_recovery_ends_with_the_first_answer_to_a_later_request(ledger: Ledger) -> None:
    """Recovery ends when a request sent after the fault is answered; held requests count as
    affected.
    """
    (effect,) = effects(ledger, [KILLED], Audit(lost_keys=["over"], second_mails_at=[110.0, TOO_LATE])).values()

    assert (1, 1, 1, 1) == (effect.times, effect.orders, effect.lost, effect.second_mails)
    assert [3.5] == effect.recovery_seconds


@pytest.mark.parametrize(
    ("fault", "first", "second", "explained"),
    [
        (KILLED, 99.0, 104.0, True),  # killed between the mail and the record of it
        (KILLED, 99.0, TOO_LATE, False),
        (KILLED, 80.0, 104.0, False),  # the first mail was recorded long before
        (FROZEN, 110.0, 125.0, True),  # the record could not be written during the pause
        (FROZEN, 130.0, 135.0, False),  # both mails came after the fault
        (InjectedFault("kill", "user", 100.0, 100.0), 99.0, 104.0, False),  # not involved in mails
    ],
)
def test_a_second_mail_needs_a_fault_between_it_and_the_first(
    ledger: Ledger, fault: InjectedFault, first: float, second: float, explained: bool
) -> None:
    """The fault must hit a process that can die between the mail server's answer and the record of
    it.
    """
    auditor = Auditor(cast(System, None), ledger, [fault], lambda: None)

    assert explained == auditor._explained(first, second)


@pytest.mark.parametrize(("began", "explained"), [(110.0, True), (117.0, False)])
def test_faults_in_quick_succession_delay_a_second_mail(ledger: Ledger, began: float, explained: bool) -> None:
    """A fault explains a second mail for longer if another fault soon follows it."""
    faults = [KILLED, InjectedFault("freeze", "notification-sidecar", began, began + 20.0)]

    assert explained == Auditor(cast(System, None), ledger, faults, lambda: None)._explained(99.0, began + 60.0)


def test_a_second_mail_is_reported_with_the_faults_near_it(ledger: Ledger) -> None:
    """The report lists the faults between the two mails, in seconds relative to the first."""
    faults = [InjectedFault("kill", "user", 50.0, 50.0), KILLED, InjectedFault("kill", "order", 150.0, 150.0)]

    near = Auditor(cast(System, None), ledger, faults, lambda: None)._faults_near(101.0, 140.0)

    assert f"{KILLED.kind} {KILLED.target} -1.0 to -1.0" == near


def test_a_second_mail_does_not_hide_a_missing_one(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shop is not idle until each finished order has its own mail."""
    auditor = Auditor(cast(System, None), ledger, [], lambda: None)
    for each in ledger.intents.values():
        each.location = f"/order/{uuid.uuid4()}"
    sent = [message_id(each.resource) for each in ledger.intents.values()]
    paid = Answer(200, {"status": "paid"})
    monkeypatch.setattr(auditor, "_backlog", list)
    monkeypatch.setattr(auditor, "_missing", list)
    monkeypatch.setattr(auditor, "_read_all", lambda some: [(each, paid) for each in some])
    monkeypatch.setattr(auditor, "_taken", lambda: [{"message_id": name} for name in [*sent[:2], sent[0]]])

    assert (1, 0, 2) == auditor._counters()


def test_a_stop_interrupts_an_audit_of_a_shop_that_does_not_answer(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The auditor stops before it has queried all locations in vain."""
    queried: list[str] = []

    def hang(_http: object, path: str) -> Answer:
        queried.append(path)
        stopped.wait(10)
        return Answer(0, {})

    def stop() -> None:
        stopped.set()
        raise KeyboardInterrupt

    stopped = threading.Event()
    monkeypatch.setattr(module, "_get", hang)
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.01)
    auditor = Auditor(cast(System, SimpleNamespace(url="http://127.0.0.1:9")), ledger, [], stop)

    with pytest.raises(KeyboardInterrupt):
        auditor._read_all([*ledger.intents.values()] * 100)
    assert len(queried) < 100


def test_a_request_is_on_disk_before_it_is_sent(tmp_path: Path) -> None:
    """The ledger has the request even if the caller dies right after sending it."""
    ledger = Ledger(tmp_path / "ledger.jsonl")
    body: dict[str, Any] = {"user_id": "u"}
    intent = ledger.intend("key", "/order/create", body)
    ledger.attempt(intent)

    lines = ledger.path.read_text().splitlines()
    ledger.close()
    assert ['"intent"', '"attempt"'] == [line.split('"what": ')[1].split(",")[0] for line in lines]
    assert '"user_id": "u"' in lines[0]


@pytest.mark.parametrize(
    ("status", "found"), [(201, []), (503, ["1 requests are not answered, although the shop serves again"])]
)
def test_a_given_up_request_is_not_accepted_in_time_and_must_be_answered_in_the_end(
    ledger: Ledger, status: int, found: list[str]
) -> None:
    """A given-up request does not count as accepted, even if it is answered later."""
    given_up = ledger.intents["after"]
    given_up.given_up, given_up.status = True, status
    audit = Audit()

    Auditor(cast(System, None), ledger, [], lambda: None)._requests(audit, list(ledger.intents.values()))

    assert (3, 2, 2, 0) == (audit.valid, audit.accepted, audit.created, audit.pending)
    assert ["only 2 of 3 valid requests were accepted", *found] == [each.partition(":")[0] for each in audit.findings]
