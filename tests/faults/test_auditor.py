"""What the auditor says of faults: whom each hit, when the shop was itself again, which second mails it explains."""

from __future__ import annotations

import threading
import uuid
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from cli.shop import Shop
from tests.faults import auditor as module
from tests.faults.auditor import EXPLAINED_SECONDS, Answer, Audit, Auditor, effects, message_id
from tests.faults.injector import Done
from tests.faults.ledger import Ledger

KILLED = Done("kill", "notification", 100.0, 100.0)
FROZEN = Done("freeze", "postgres", 100.0, 121.0)
TOO_LATE = KILLED.ended + EXPLAINED_SECONDS + 1.0


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """Three orders: answered before the fault, held over it, asked for after it."""
    made = Ledger(tmp_path / "ledger.jsonl")
    for key, asked, answered in (("before", 90.0, 95.0), ("over", 99.0, 107.0), ("after", 101.0, 103.5)):
        wanted = made.intend(key, "/order/create", {})
        made.answered(wanted, 201, {"location": f"/order/{key}"}, {})
        wanted.asked_at, wanted.answered_at = asked, answered
    made.close()
    return made


def test_a_fault_is_over_when_somebody_who_asked_after_it_was_answered(ledger: Ledger) -> None:
    """And it concerns those who were held when it happened."""
    (effect,) = effects(ledger, [KILLED], Audit(lost_keys=["over"], second_mails_at=[110.0, TOO_LATE])).values()

    assert (1, 1, 1, 1) == (effect.times, effect.orders, effect.lost, effect.second_mails)
    assert [3.5] == effect.recovery_seconds


@pytest.mark.parametrize(
    ("fault", "first", "second", "explained"),
    [
        (KILLED, 99.0, 104.0, True),  # killed between the mail and the note of it
        (KILLED, 99.0, TOO_LATE, False),
        (KILLED, 80.0, 104.0, False),  # the first one was noted long before
        (FROZEN, 110.0, 125.0, True),  # the note could not be written meanwhile
        (FROZEN, 130.0, 135.0, False),  # both after it
        (Done("kill", "user", 100.0, 100.0), 99.0, 104.0, False),  # has nothing to do with mails
    ],
)
def test_a_second_mail_needs_a_fault_between_it_and_the_first(
    ledger: Ledger, fault: Done, first: float, second: float, explained: bool
) -> None:
    """Of somebody who can die between the mail server's answer and the note of it."""
    auditor = Auditor(cast(Shop, None), ledger, [fault], lambda: None)

    assert explained == auditor._explained(first, second)


@pytest.mark.parametrize(("began", "explained"), [(110.0, True), (117.0, False)])
def test_faults_that_follow_soon_delay_a_second_mail(ledger: Ledger, began: float, explained: bool) -> None:
    """Its process is killed, and before it serves again its sidecar stands still."""
    faults = [KILLED, Done("freeze", "notification-sidecar", began, began + 20.0)]

    assert explained == Auditor(cast(Shop, None), ledger, faults, lambda: None)._explained(99.0, began + 60.0)


def test_a_second_mail_is_told_with_the_faults_from_shortly_before_the_first_to_it(ledger: Ledger) -> None:
    """In seconds from the first."""
    faults = [Done("kill", "user", 50.0, 50.0), KILLED, Done("kill", "order", 150.0, 150.0)]

    around = Auditor(cast(Shop, None), ledger, faults, lambda: None)._around(101.0, 140.0)

    assert f"{KILLED.kind} {KILLED.target} -1.0 to -1.0" == around


def test_a_second_mail_does_not_hide_the_one_that_is_missing(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shop is not at rest before each finished order has its own."""
    auditor = Auditor(cast(Shop, None), ledger, [], lambda: None)
    for each in ledger.wanted.values():
        each.location = f"/order/{uuid.uuid4()}"
    told = [message_id(each.resource) for each in ledger.wanted.values()]
    paid = Answer(200, {"status": "paid"})
    monkeypatch.setattr(auditor, "_backlog", list)
    monkeypatch.setattr(auditor, "_missing", list)
    monkeypatch.setattr(auditor, "_read_all", lambda some: [(each, paid) for each in some])
    monkeypatch.setattr(auditor, "_taken", lambda: [{"message_id": name} for name in [*told[:2], told[0]]])

    assert (1, 0, 2) == auditor._counters()


def test_whoever_waits_for_a_shop_that_does_not_answer_can_be_stopped(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not once a thousand locations have been asked for in vain."""
    asked: list[str] = []

    def ask(_http: object, path: str) -> Answer:
        asked.append(path)
        stopped.wait(10)
        return Answer(0, {})

    def stop() -> None:
        stopped.set()
        raise KeyboardInterrupt

    stopped = threading.Event()
    monkeypatch.setattr(module, "_get", ask)
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.01)
    auditor = Auditor(cast(Shop, SimpleNamespace(url="http://127.0.0.1:9")), ledger, [], stop)

    with pytest.raises(KeyboardInterrupt):
        auditor._read_all([*ledger.wanted.values()] * 100)
    assert len(asked) < 100


def test_what_is_wanted_is_on_disk_before_it_is_asked_for(tmp_path: Path) -> None:
    """Also if the caller dies right after."""
    ledger = Ledger(tmp_path / "ledger.jsonl")
    body: dict[str, Any] = {"user_id": "u"}
    wanted = ledger.intend("key", "/order/create", body)
    ledger.attempt(wanted)

    lines = ledger.path.read_text().splitlines()
    ledger.close()
    assert ['"wants"', '"asks"'] == [line.split('"what": ')[1].split(",")[0] for line in lines]
    assert '"user_id": "u"' in lines[0]


@pytest.mark.parametrize(
    ("status", "found"), [(201, []), (503, ["1 requests are not answered, although the shop serves again"])]
)
def test_what_was_given_up_is_not_accepted_in_time_and_has_to_be_answered_at_last(
    ledger: Ledger, status: int, found: list[str]
) -> None:
    """Also if its answer came once the shop served again."""
    given_up = ledger.wanted["after"]
    given_up.given_up, given_up.status = True, status
    audit = Audit()

    Auditor(cast(Shop, None), ledger, [], lambda: None)._requests(audit, list(ledger.wanted.values()))

    assert (3, 2, 2, 0) == (audit.valid, audit.accepted, audit.created, audit.promised)
    assert ["only 2 of 3 valid requests were accepted", *found] == [each.partition(":")[0] for each in audit.findings]
