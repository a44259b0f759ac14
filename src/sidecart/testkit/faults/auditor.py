"""The auditor: reads public interfaces and the servers' own counters, and reports every violation.

It waits until nothing changes any more, so that its findings are final. It checks facts that hold
for any project:

- Every accepted request is final, and its resource is as requested.
- No consumer has events left, and no event became a dead letter.
- A fault explains each repeated side effect.

The project's bookkeeping checks the rest.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

from sidecart.launcher.dead_letters import DeadLetter, find_dead_letters
from sidecart.launcher.lifecycle.system import System
from sidecart.launcher.running_state import RunningState
from sidecart.launcher.topology import readers
from sidecart.testkit.acting import Acting
from sidecart.testkit.contents import Backlog
from sidecart.testkit.faults.audit import Audit
from sidecart.testkit.faults.bookkeeping import Bookkeeping
from sidecart.testkit.faults.injector import InjectedFault
from sidecart.testkit.faults.ledger import Intent, Ledger
from sidecart.testkit.faults.reader import Answer, Poll, Reader
from sidecart.testkit.faults.recorder import Recorder
from sidecart.testkit.faults.repeats import Repeats
from sidecart.testkit.faults.rest import OPEN_QUIET_SECONDS, Rest
from sidecart.testkit.faults.unparseable import Planted

ACCEPTED_SHARE_MIN = 0.98


class Auditor:
    """Audits one system after a load."""

    def __init__(
        self,
        system: System,
        ledger: Ledger,
        faults: Sequence[InjectedFault],
        bookkeeping: Bookkeeping,
        recorder: Recorder,
        poll: Poll,
        waiting: Callable[[], list[Backlog]] | None = None,
    ) -> None:
        """Audit; `waiting` reads the backlog of a broker that the launcher does not run."""
        self._system = system
        self._ledger = ledger
        self._faults = faults
        self._bookkeeping = bookkeeping
        self._recorder = recorder
        self._reader = Reader(system.url, poll, Acting(system.issuer_folder, ()))
        self._rest = Rest(system, ledger, bookkeeping, self._reader, poll, waiting)

    def audit(self, planted: Sequence[Planted] = (), open_quiet_seconds: float = OPEN_QUIET_SECONDS) -> Audit:
        """Wait until the system is at rest, then count; only planted messages have dead letters."""
        audit = Audit()
        audit.rest_seconds = self._rest.wait(open_quiet_seconds)
        intents = list(self._ledger.intents.values())
        judge_requests(audit, intents)
        found = self._reader.read_all([each for each in intents if each.location is not None])
        judge_results(audit, found, self._bookkeeping)
        self._bookkeeping.check(audit, found, self._recorder.recorded(), self._reader)
        self._side_effects(audit, found)
        self._missing(audit)
        self._left_over(audit)
        state = RunningState(self._system.ports, self._system.tokens)
        judge_dead_letters(audit, list(find_dead_letters(state)), planted)
        return audit

    def _side_effects(self, audit: Audit, found: Sequence[tuple[Intent, Answer]]) -> None:
        side_effects = self._bookkeeping.side_effects()
        rules = self._bookkeeping.repeat_rules
        seen = {each.id for each in side_effects}
        final = [each for each, answer in found if self._bookkeeping.is_final(each, answer)]
        wanted = [(each, self._bookkeeping.side_effect_of(each)) for each in final]
        without = [each.location for each, name in wanted if name is not None and name not in seen]
        audit.lost += len(without)
        if without:
            audit.find(f"final requests without their {rules.name}", without)
        Repeats(rules, self._faults).judge(audit, side_effects)

    def _missing(self, audit: Audit) -> None:
        by_what: dict[str, list[Intent]] = defaultdict(list)
        for each in self._rest.missing():
            by_what[each.what].append(each.intent)
        for what, intents in by_what.items():
            audit.missing[what] = len(intents)
            audit.lost += len(intents)
            audit.find(what, [each.location for each in intents])

    def _left_over(self, audit: Audit) -> None:
        backlog = self._rest.backlog()
        unfinished = [f"{each.consumer} on {each.topic}" for each in backlog if each.undelivered or each.pending]
        if unfinished:
            audit.find("consumers have events left", unfinished)
        known = {(each.consumer, each.topic) for each in backlog}
        expected = readers(self._system.replicas, addressed=self._system.is_addressed)
        unknown = [f"{one.consumer_id} on {one.topic}" for one in expected if (one.consumer_id, one.topic) not in known]
        if unknown:
            audit.find("consumers are unknown to the broker", unknown)


def judge_requests(audit: Audit, intents: Sequence[Intent]) -> None:
    """Check that nearly all requests were accepted in time, all in the end, and none refused."""
    audit.valid = len(intents)
    in_time = [each for each in intents if not each.given_up]
    audit.created = sum(each.status in (200, 201) for each in in_time)
    audit.pending = sum(each.status == 202 for each in in_time)
    audit.accepted = audit.created + audit.pending
    if audit.accepted < ACCEPTED_SHARE_MIN * audit.valid:
        audit.find(f"only {audit.accepted} of {audit.valid} valid requests were accepted")
    unsettled = [f"{each.route} {each.status} {each.answer}" for each in intents if each.given_up and not each.accepted]
    if unsettled:
        audit.find("requests are not answered, although the system serves again", unsettled)
    refused = [f"{each.route} {each.status} {each.answer}" for each in intents if 400 <= (each.status or 0) < 500]
    if refused:
        audit.find("valid requests were refused", refused)


def judge_results(audit: Audit, found: Sequence[tuple[Intent, Answer]], bookkeeping: Bookkeeping) -> None:
    """Check that each accepted request is final, and that each resource equals its request."""
    lost = [(each, answer) for each, answer in found if each.accepted and not bookkeeping.is_final(each, answer)]
    audit.lost += len(lost)
    audit.lost_keys = [each.key for each, _ in lost]
    if lost:
        not_final = [f"{each.location} ({each.status}) is {a.status} {a.body.get('status', '')}" for each, a in lost]
        audit.find("accepted requests are not final", not_final)
    wrong = [
        each.location
        for each, answer in found
        if answer.status == 200 and any(answer.body.get(name) != value for name, value in each.body.items())
    ]
    if wrong:
        audit.find("resources differ from their requests", wrong)


def judge_dead_letters(audit: Audit, found: Sequence[DeadLetter], planted: Sequence[Planted]) -> None:
    """Check that each consumer of each unparseable message has one dead letter, and that there are
    no others.
    """
    audit.dead_letters, audit.planted = len(found), len(planted)
    expected = [(service, each) for each in planted for service in each.services]
    unexpected = list(found)
    without, several = [], []
    for service, each in expected:
        matching = [letter for letter in found if letter.service == service and each.is_in(letter)]
        unexpected = [letter for letter in unexpected if letter not in matching]
        if not matching and each.is_sure:
            without.append(f"{service} {each.topic} {each.mark}")
        if len(matching) > 1:
            several.append(f"{service} {each.topic} {each.mark}: {len(matching)}")
    if without:
        audit.find("unparseable messages without a dead letter", without)
    if several:
        audit.find("unparseable messages with several dead letters", several)
    if unexpected:
        audit.find("dead letters", [f"{each.service} {each.topic}: {each.reason}" for each in unexpected])
