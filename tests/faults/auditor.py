"""The auditor: reads public interfaces and the servers' own counters, and reports every violation.

The auditor polls until nothing changes any more, so that its findings are final.
"""

from __future__ import annotations

import json
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

import httpx

from sidecart.launcher.dead_letters import DeadLetter, find_dead_letters
from sidecart.launcher.lifecycle.system import System
from sidecart.launcher.running_state import RunningState
from sidecart.launcher.topology import readers
from sidecart.testkit.contents import backlog
from tests.faults.aftermath import Missing, missing
from tests.faults.injector import InjectedFault
from tests.faults.ledger import Intent, Ledger
from tests.faults.recordings import recorded
from tests.faults.records import Records
from tests.faults.unparseable import Planted

OUTCOMES = ("OrderPaymentCreated", "OrderPaymentFailed")
ENDS = ("OrderPaid", "OrderNotPaid")
ACCEPTED_SHARE_MIN = 0.98
# a process that dies with a mail in progress blocks it for up to 30 s
# (services/notification/mail_retry_queue.py)
EXPLAINED_SECONDS = 45.0
# a fault that follows another so soon delays the recovery from the first
RECOVERY_SECONDS = 15.0
# tolerance between the first of two mails and the fault that explains the second
IN_TIME_SECONDS = 5.0
SECOND_MAILS_PER_FAULT_MAX = 14  # the maximum number of mail events in progress at once
READ_SECONDS_MAX = 10.0
READERS = 8
# the shop counts as idle when its broker is empty and nothing changed for this long
QUIET_SECONDS = 5.0
# the same while results are missing: the component that repairs them may still retry
OPEN_QUIET_SECONDS = 120.0
REST_SECONDS_MAX = 420.0  # longer than RabbitMQ takes to redeliver an event that a sidecar lost
LOOK_SECONDS = 1.0
EXPLAINS_A_SECOND_MAIL = ("notification", "mail", "valkey", "rabbitmq", "postgres")
"""Processes, by prefix of the name, whose death or pause can come between a mail server's 250 and
the record of it.
"""

Poll = Callable[[], None]


@dataclass(slots=True)
class Audit:
    """The counts and findings of one audit; an empty `findings` means a correct shop."""

    findings: list[str] = field(default_factory=list)
    valid: int = 0
    accepted: int = 0
    created: int = 0
    pending: int = 0
    orders: int = 0
    paid: int = 0
    not_paid: int = 0
    lost: int = 0
    paid_twice: int = 0
    mails: int = 0
    duplicate_mails: int = 0
    dead_letters: int = 0
    planted: int = 0
    """Planted messages that cannot be parsed; only these may have dead letters."""
    missing: dict[str, int] = field(default_factory=dict)
    """Missing results of accepted requests in services that their callers do not wait for."""
    rest_seconds: float = 0.0
    lost_keys: list[str] = field(default_factory=list)
    """Idempotency-Keys of accepted requests without a final result."""
    second_mails_at: list[float] = field(default_factory=list)

    def find(self, what: str, some: Sequence[Any] = ()) -> None:
        """Add a finding, with up to three examples."""
        examples = f": {', '.join(map(str, some[:3]))}{' ...' if len(some) > 3 else ''}" if some else ""
        self.findings.append(f"{len(some)} {what}{examples}" if some else what)


@dataclass(frozen=True, slots=True)
class Answer:
    """The response to a GET; status 0 without a response."""

    status: int
    body: dict[str, Any]


class Auditor:
    """Audits one shop after a load."""

    def __init__(
        self, shop: System, ledger: Ledger, faults: Sequence[InjectedFault], poll: Poll, planted: Sequence[Planted] = ()
    ) -> None:
        self._shop = shop
        self._planted = planted
        self._records = Records(shop)
        self._ledger = ledger
        self._faults = faults
        self._poll = poll
        self._final: set[str] = set()
        """Keys of the requests whose final result was seen."""
        self._followed: set[str] = set()
        """Keys of the requests whose results in all services were seen."""

    def audit(self) -> Audit:
        """Wait until the shop is idle, then count."""
        audit = Audit()
        audit.rest_seconds = self._wait_for_rest()
        intents = list(self._ledger.intents.values())
        self._requests(audit, intents)
        found = self._read_all([each for each in intents if each.location is not None])
        self._finals(audit, found)
        self._money(audit, found)
        self._events(audit)
        self._mails(audit, found)
        self._aftermath(audit)
        self._left_over(audit)
        self._dead_letters(audit)
        return audit

    # --- Waiting until the shop is idle

    def _wait_for_rest(self) -> float:
        """Wait until the broker is empty and nothing changes; return the seconds.

        A shop that does not become idle in time is audited as it is.
        """
        started = quiet_since = time.monotonic()
        before: Any = None
        while time.monotonic() - started < REST_SECONDS_MAX:
            state = self._counters()
            still_open, backlog = state[0], state[1]
            now = time.monotonic()
            if state != before or backlog:
                before, quiet_since = state, now
            elif now - quiet_since >= (OPEN_QUIET_SECONDS if still_open else QUIET_SECONDS):
                break
            for _ in range(int(LOOK_SECONDS / 0.1)):
                self._poll()
                time.sleep(0.1)
        return time.monotonic() - started

    def _counters(self) -> tuple[int, int, int]:
        """Return the numbers of missing results, of events in the broker and of accepted mails."""
        try:
            backlog = sum(each.undelivered + each.pending for each in self._backlog())
            mails = {mail["message_id"] for mail in self._taken()}
        except (OSError, httpx.HTTPError):
            return -1, 1, 0
        accepted = [each for each in self._ledger.intents.values() if each.accepted]
        for each, answer in self._read_all([each for each in accepted if each.key not in self._final]):
            if _is_final(each, answer):
                self._final.add(each.key)
        finished = [each.resource for each in accepted if each.key in self._final and each.route == "/order/create"]
        without_mail = sum(message_id(order_id) not in mails for order_id in finished)
        try:
            not_followed = len(self._missing())
        except httpx.HTTPError:
            return -1, 1, len(mails)
        return len(accepted) - len(self._final) + without_mail + not_followed, backlog, len(mails)

    def _missing(self) -> list[Missing]:
        queried = [each for each in self._ledger.intents.values() if each.accepted and each.key not in self._followed]
        found = list(missing(queried, self._records))
        self._followed |= {each.key for each in queried} - {each.intent.key for each in found}
        return found

    def _backlog(self) -> list[Any]:
        ours = {one.consumer_id for one in readers(self._shop.replicas)}
        everything = backlog(self._shop)
        return [each for each in everything if each.consumer in ours]

    def _taken(self) -> list[dict[str, Any]]:
        answer = httpx.get(f"{self._shop.mail_url}/mails", params={"short": "1"}, timeout=60, trust_env=False)
        return list(answer.raise_for_status().json())

    # --- Reading

    def _read_all(self, intents: Iterable[Intent]) -> list[tuple[Intent, Answer]]:
        """Read each location, and poll meanwhile, so that a stop interrupts the reads."""
        queried = list(intents)
        with (
            httpx.Client(base_url=self._shop.url, timeout=READ_SECONDS_MAX, trust_env=False) as http,
            ThreadPoolExecutor(READERS) as pool,
        ):
            calls = [pool.submit(_get, http, str(each.location)) for each in queried]
            try:
                while wait(calls, LOOK_SECONDS / 2).not_done:
                    self._poll()
            finally:
                pool.shutdown(cancel_futures=True)
            return [(each, call.result()) for each, call in zip(queried, calls, strict=True)]

    # --- Counting

    def _requests(self, audit: Audit, intents: Sequence[Intent]) -> None:
        audit.valid = len(intents)
        in_time = [each for each in intents if not each.given_up]
        audit.created = sum(each.status == 201 for each in in_time)
        audit.pending = sum(each.status == 202 for each in in_time)
        audit.accepted = audit.created + audit.pending
        if audit.accepted < ACCEPTED_SHARE_MIN * audit.valid:
            audit.find(f"only {audit.accepted} of {audit.valid} valid requests were accepted")
        unsettled = [
            f"{each.route} {each.status} {each.answer}" for each in intents if each.given_up and not each.accepted
        ]
        if unsettled:
            audit.find("requests are not answered, although the shop serves again", unsettled)
        refused = [f"{each.route} {each.status} {each.answer}" for each in intents if 400 <= (each.status or 0) < 500]
        if refused:
            audit.find("valid requests were refused", refused)

    def _finals(self, audit: Audit, found: Sequence[tuple[Intent, Answer]]) -> None:
        orders = [(each, answer) for each, answer in found if each.route == "/order/create"]
        audit.orders = len(orders)
        audit.paid = sum(answer.body.get("status") == "paid" for _, answer in orders)
        audit.not_paid = sum(answer.body.get("status") == "not_paid" for _, answer in orders)
        lost = [(each, answer) for each, answer in found if each.accepted and not _is_final(each, answer)]
        audit.lost += len(lost)
        audit.lost_keys = [each.key for each, _ in lost]
        if lost:
            not_final = [
                f"{each.location} ({each.status}) is {a.status} {a.body.get('status', '')}" for each, a in lost
            ]
            audit.find("accepted requests are not final", not_final)
        wrong = [
            each.location
            for each, answer in found
            if answer.status == 200 and any(answer.body.get(name) != value for name, value in each.body.items())
        ]
        if wrong:
            audit.find("resources differ from their requests", wrong)

    def _money(self, audit: Audit, found: Sequence[tuple[Intent, Answer]]) -> None:
        """Check that deposits minus paid orders equal the balances, to the cent."""
        expected, pending = _balances(found)
        users = [each.resource for each, answer in found if each.route == "/user/register" and answer.status == 200]
        wrong, overcharged = [], 0
        with httpx.Client(base_url=self._shop.url, timeout=READ_SECONDS_MAX, trust_env=False) as http:
            for user_id in users:
                account = _get(http, f"/account/{user_id}")
                balance = account.body.get("balance_cents")
                if account.status != 200 or balance != expected[user_id]:
                    wrong.append(f"{user_id} has {balance}, should have {expected[user_id]}")
                    # A payment for a pending order is not a double payment: the order counts as
                    # lost.
                    overcharged += balance is not None and balance < expected[user_id] - pending[user_id]
        audit.paid_twice += overcharged
        if wrong:
            audit.find("balances are wrong", wrong)

    def _events(self, audit: Audit) -> None:
        """Check that the broker carried one payment and one final event per order.

        A repeated event has the same id, so it counts once.
        """
        passed = recorded(self._shop, [*OUTCOMES, *ENDS])
        outcomes: dict[str, set[str]] = defaultdict(set)
        ends: dict[str, set[str]] = defaultdict(set)
        for topic, body in passed:
            event = json.loads(body)
            (outcomes if topic in OUTCOMES else ends)[event["subject"]].add(f"{topic} {event['id']}")
        for what, by_order in (("payments", outcomes), ("final events", ends)):
            several = [order_id for order_id, each in by_order.items() if len(each) > 1]
            if several:
                audit.find(f"orders have several {what}", several)
            if what == "payments":
                audit.paid_twice += len(several)

    def _mails(self, audit: Audit, found: Sequence[tuple[Intent, Answer]]) -> None:
        taken = self._taken()
        audit.mails = len(taken)
        times: dict[str, list[float]] = defaultdict(list)
        for mail in taken:
            times[mail["message_id"]].append(mail["taken_at"])
        finished = [
            each.resource
            for each, answer in found
            if each.route == "/order/create" and answer.body.get("status") in ("paid", "not_paid")
        ]
        unmailed = [order_id for order_id in finished if message_id(order_id) not in times]
        audit.lost += len(unmailed)
        if unmailed:
            audit.find("finished orders without a mail", unmailed)
        unexplained = []
        for name, at in times.items():
            first, *later = sorted(at)
            audit.duplicate_mails += len(later)
            audit.second_mails_at += later
            unexplained += [
                f"{name} {when - first:.1f} s after the first ({self._faults_near(first, when)})"
                for when in later
                if not self._explained(first, when)
            ]
        if unexplained:
            audit.find("second mails without a fault that explains them", unexplained)
        explaining = sum(fault.target.startswith(EXPLAINS_A_SECOND_MAIL) for fault in self._faults)
        if audit.duplicate_mails > SECOND_MAILS_PER_FAULT_MAX * explaining:
            audit.find(f"{audit.duplicate_mails} second mails are more than {explaining} faults explain")

    def _explained(self, first: float, second: float) -> bool:
        """Return whether a fault came between a mail and the record that it was sent.

        Faults that follow it in quick succession extend the time for the second mail.
        """
        faults = [each for each in self._faults if each.target.startswith(EXPLAINS_A_SECOND_MAIL)]
        faults.sort(key=lambda each: each.began)
        for fault in faults:
            if fault.began - IN_TIME_SECONDS <= first <= fault.ended + IN_TIME_SECONDS and fault.began <= second:
                until = fault.ended
                for later in faults:
                    if fault.began <= later.began <= until + RECOVERY_SECONDS:
                        until = max(until, later.ended)
                if second <= until + EXPLAINED_SECONDS:
                    return True
        return False

    def _faults_near(self, first: float, second: float) -> str:
        """Return the faults near two mails as text, with times in seconds relative to the first
        mail.
        """
        near = [each for each in self._faults if each.ended + EXPLAINED_SECONDS >= first and each.began <= second]
        return ", ".join(
            f"{each.kind} {each.target} {each.began - first:+.1f} to {each.ended - first:+.1f}" for each in near
        )

    def _left_over(self, audit: Audit) -> None:
        backlog = self._backlog()
        unfinished = [f"{each.consumer} on {each.topic}" for each in backlog if each.undelivered or each.pending]
        if unfinished:
            audit.find("consumers have events left", unfinished)
        known = {(each.consumer, each.topic) for each in backlog}
        expected = readers(self._shop.replicas)
        unknown = [f"{one.consumer_id} on {one.topic}" for one in expected if (one.consumer_id, one.topic) not in known]
        if unknown:
            audit.find("consumers are unknown to the broker", unknown)

    def _aftermath(self, audit: Audit) -> None:
        by_what: dict[str, list[Intent]] = defaultdict(list)
        for each in self._missing():
            by_what[each.what].append(each.intent)
        for what, intents in by_what.items():
            audit.missing[what] = len(intents)
            audit.lost += len(intents)
            audit.find(what, [each.location for each in intents])

    def _dead_letters(self, audit: Audit) -> None:
        """Check that each consumer of each unparseable message has one dead letter, and that there
        are no others.
        """
        state = RunningState(self._shop.ports, self._shop.tokens["DAPR_API_TOKEN"])
        self._judge_letters(audit, list(find_dead_letters(state)))

    def _judge_letters(self, audit: Audit, found: Sequence[DeadLetter]) -> None:
        audit.dead_letters, audit.planted = len(found), len(self._planted)
        expected = [(service, each) for each in self._planted for service in each.services]
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


def message_id(order_id: str) -> str:
    """Return the Message-ID of an order's mail (contracts/WIRE.md, section 10)."""
    return f"<{uuid.uuid5(uuid.UUID(order_id), 'letter')}@sidecart>"


def _balances(found: Sequence[tuple[Intent, Answer]]) -> tuple[dict[str, int], dict[str, int]]:
    """Return by user the expected balance, and the amount of pending orders, which may be taken
    already.
    """
    expected: dict[str, int] = defaultdict(int)
    pending: dict[str, int] = defaultdict(int)
    for each, answer in found:
        if answer.status != 200:
            continue
        user_id = each.body.get("user_id", "")
        if each.route == "/account/deposit" and answer.body.get("reason") is None:
            expected[user_id] += each.body["amount_cents"]
        elif each.route == "/order/create" and answer.body["status"] == "paid":
            expected[user_id] -= answer.body["amount_cents"]
        elif each.route == "/order/create" and not _is_final(each, answer):
            pending[user_id] += answer.body["amount_cents"]
    return expected, pending


def _is_final(intent: Intent, answer: Answer) -> bool:
    if answer.status != 200:
        return False
    return intent.route != "/order/create" or answer.body["status"] in ("paid", "not_paid")


def _get(http: httpx.Client, path: str) -> Answer:
    for _ in range(5):
        try:
            answer = http.get(path)
            if answer.status_code != 503:
                return Answer(answer.status_code, answer.json())
        except (httpx.HTTPError, ValueError):
            pass
        time.sleep(0.5)
    return Answer(0, {})


@dataclass(slots=True)
class Effect:
    """The combined effect of one kind of fault."""

    times: int = 0
    orders: int = 0
    """Orders sent and not answered when the fault happened."""
    recovery_seconds: list[float] = field(default_factory=list)
    """Seconds from the end of each fault until a request first sent after it was answered 201."""
    second_mails: int = 0
    lost: int = 0


def effects(ledger: Ledger, faults: Sequence[InjectedFault], audit: Audit) -> dict[str, Effect]:
    """Return the effects by kind of fault and target."""
    answered = sorted(
        (each.asked_at, each.answered_at)
        for each in ledger.intents.values()
        if each.status == 201 and each.answered_at is not None
    )
    found: dict[str, Effect] = defaultdict(Effect)
    for fault in faults:
        effect = found[f"{fault.kind} {fault.target}"]
        effect.times += 1
        held = [
            each
            for each in ledger.intents.values()
            if each.asked_at <= fault.ended and (each.answered_at is None or each.answered_at >= fault.began)
        ]
        effect.orders += sum(each.route == "/order/create" for each in held)
        effect.lost += sum(each.key in audit.lost_keys for each in held)
        later = [ended for began, ended in answered if began >= fault.ended]
        if later:
            effect.recovery_seconds.append(min(later) - fault.ended)
        if fault.target.startswith(EXPLAINS_A_SECOND_MAIL):
            effect.second_mails += sum(
                fault.began <= at <= fault.ended + EXPLAINED_SECONDS for at in audit.second_mails_at
            )
    return dict(found)
