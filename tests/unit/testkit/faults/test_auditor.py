"""Tests of the auditor's facts about any project: it finds each planted defect, and no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecart.launcher.dead_letters import DeadLetter
from sidecart.testkit.faults.audit import Audit
from sidecart.testkit.faults.auditor import judge_dead_letters, judge_requests, judge_results
from sidecart.testkit.faults.ledger import Intent, Ledger
from sidecart.testkit.faults.reader import Answer
from sidecart.testkit.faults.unparseable import Planted
from tests.unit.testkit.faults.lamps import LampBooks, three_lamps


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """Return a ledger of three requests."""
    return three_lamps(tmp_path)


@pytest.mark.parametrize(
    ("status", "found"), [(201, []), (503, ["1 requests are not answered, although the system serves again"])]
)
def test_a_given_up_request_is_not_accepted_in_time_and_must_be_answered_in_the_end(
    ledger: Ledger, status: int, found: list[str]
) -> None:
    """A given-up request does not count as accepted, even if it is answered later."""
    given_up = ledger.intents["after"]
    given_up.given_up, given_up.status = True, status
    audit = Audit()

    judge_requests(audit, list(ledger.intents.values()))

    assert (3, 2, 2, 0) == (audit.valid, audit.accepted, audit.created, audit.pending)
    assert ["only 2 of 3 valid requests were accepted", *found] == [each.partition(":")[0] for each in audit.findings]


def test_a_refused_request_is_found(ledger: Ledger) -> None:
    """The load sends valid requests only."""
    ledger.intents["over"].status = 422
    audit = Audit()

    judge_requests(audit, list(ledger.intents.values()))

    assert "1 valid requests were refused" in [each.partition(":")[0] for each in audit.findings]


@pytest.mark.parametrize(
    ("answer", "lost", "findings"),
    [
        (Answer(200, {"is_lit": True, "color": "red"}), [], []),
        (Answer(200, {"is_lit": False, "color": "red"}), ["k"], ["1 accepted requests are not final"]),
        (Answer(404, {}), ["k"], ["1 accepted requests are not final"]),
        (Answer(200, {"is_lit": True, "color": "blue"}), [], ["1 resources differ from their requests"]),
    ],
)
def test_an_accepted_request_must_be_final_and_as_requested(
    answer: Answer, lost: list[str], findings: list[str]
) -> None:
    """The project decides what final means; the resource has the fields of the request."""
    lit = Intent("k", "/lamp/create", {"color": "red"}, 0.0, status=201, location="/lamp/k")
    audit = Audit()

    judge_results(audit, [(lit, answer)], LampBooks())

    assert (lost, len(lost)) == (audit.lost_keys, audit.lost)
    assert findings == [each.partition(":")[0] for each in audit.findings]


PLANTED = Planted("UserCreated", "unparseable-0-abc")
BOTH = [
    DeadLetter(f"{service}-1", service, "UserCreated", "no JSON", "", "", "unparseable-0-abc is no JSON")
    for service in ("billing", "notification")
]
FOREIGN = DeadLetter("x", "order", "OrderCreateRequested", "malformed", "", "", "{}")


@pytest.mark.parametrize(
    ("planted", "letters", "findings"),
    [
        ([PLANTED], BOTH, []),
        ([], [], []),
        ([PLANTED], BOTH[:1], ["1 unparseable messages without a dead letter"]),
        ([PLANTED], [*BOTH, BOTH[0]], ["1 unparseable messages with several dead letters"]),
        ([PLANTED], [*BOTH, FOREIGN], ["1 dead letters"]),
        ([], BOTH, ["2 dead letters"]),
        ([Planted("UserCreated", "unparseable-0-abc", is_sure=False)], [], []),
    ],
)
def test_the_dead_letters_are_exactly_those_of_unparseable_messages(
    planted: list[Planted], letters: list[DeadLetter], findings: list[str]
) -> None:
    """Each service that reads the topic has one dead letter per planted message, and no others."""
    audit = Audit()

    judge_dead_letters(audit, letters, planted)

    assert findings == [each.partition(":")[0] for each in audit.findings]
