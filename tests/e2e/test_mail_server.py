"""Tests of an unreachable, slow or rejecting mail server: orders continue, mails arrive later or
become dead letters.

MAIL_UNREACHABLE_SECONDS sets the duration of the outage (default 10).
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import httpx
import pytest

from sidecart.launcher.audit import newest_entries, of_command_line
from sidecart.launcher.dead_letter_runs import perform, select
from sidecart.launcher.dead_letters import Filter, find_dead_letters
from sidecart.launcher.lifecycle.plan import MAIL_CATCHER
from sidecart.launcher.lifecycle.system import System
from sidecart.launcher.ports import is_listening
from sidecart.launcher.running_state import RunningState
from sidecart.testkit.tap import Tap
from tests.e2e.conftest import options
from tests.e2e.shopper import SECONDS, TEA, TEA_CENTS, Shopper
from tests.replay import replay

UNREACHABLE_SECONDS = float(os.environ.get("MAIL_UNREACHABLE_SECONDS", "10"))
ORDERS = 40
SLOW_SECONDS = "30"
LATE_SECONDS = "7"
REFUSED_LATE_SECONDS = "3"
"""More than the two seconds that an event waits for its mail."""

pytestmark = pytest.mark.own_shop


@pytest.fixture(scope="module")
def post_shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Start a shop that retries mails after one second."""
    made = options(tmp_path_factory.mktemp("post"))
    with System(replace(made, env={"MAIL_RETRY_SECONDS": "1", "MAILS_PER_HOUR": str(ORDERS)}), print) as running:
        yield running


@pytest.fixture(scope="module")
def post_tap(post_shop: System) -> Iterator[Tap]:
    """Return a tap, which records every event that passes the broker."""
    with Tap(post_shop) as running:
        yield running


@pytest.fixture
def shopper(post_shop: System, post_tap: Tap) -> Iterator[Shopper]:
    """Return a client that also reads the mailbox."""
    with Shopper(post_shop, post_tap) as client:
        yield client


@contextmanager
def replaced_mail_server(shop: System, arguments: Sequence[str] | None) -> Iterator[None]:
    """Stop the mail server for a while, or replace it with one with these arguments."""
    shop.state.processes.stop([MAIL_CATCHER], 40)
    if arguments is not None:
        start(shop, *arguments)
    try:
        yield
    finally:
        if arguments is not None:
            shop.state.processes.stop([MAIL_CATCHER], 40)
        start(shop)


def start(shop: System, *arguments: str) -> None:
    """Start the mail server and wait for it."""
    shop.starter.start_mail_catcher(*arguments)
    shop.deadline.until(lambda: is_listening(shop.ports["mail-http"]), SECONDS, lambda: "no mail catcher", 0.1)


def recipients_tried(shop: System) -> int:
    """Return the number of recipients that callers have named to the mail server."""
    return int(httpx.get(f"{shop.mail_url}/recipients", trust_env=False).json()["recipients"])


def orders(shopper: Shopper) -> tuple[dict[str, str], list[str], float]:
    """Place paid orders concurrently; return user, order ids, and paid orders per second."""
    user = shopper.register()
    shopper.deposit(user["user_id"], ORDERS * TEA_CENTS)
    started = time.monotonic()

    async def send_all() -> list[httpx.Response]:
        async with shopper.concurrent() as http:
            body = {"user_id": user["user_id"], "items": [TEA]}
            return await asyncio.gather(*(http.post("/order/create", json=body) for _ in range(ORDERS)))

    answers = asyncio.run(send_all())
    assert {201} == {answer.status_code for answer in answers}
    ids = [str(answer.json()["order_id"]) for answer in answers]
    assert {"OrderPaid"} == {shopper.final(each) for each in ids}
    return user, ids, ORDERS / (time.monotonic() - started)


def all_mailed(shopper: Shopper, email: str, ids: list[str]) -> bool:
    """Return whether each order has exactly one mail."""
    texts = [mail["text"] for mail in shopper.mails(email)]
    return len(texts) == len(ids) and all(any(each in text for text in texts) for each in ids)


@pytest.mark.parametrize(
    ("what", "arguments"),
    [
        ("there", None),
        ("unreachable", None),
        ("slow", ("--pause-seconds", SLOW_SECONDS)),
        ("greylisting", ("--to-recipient", "451 4.7.1 come back later")),
    ],
)
def test_orders_continue_and_mails_arrive_later(
    shopper: Shopper, what: str, arguments: Sequence[str] | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """Orders are paid without delay, and each has one mail once the mail server works again."""
    if what == "there":
        user, ids, per_second = orders(shopper)
    else:
        with replaced_mail_server(shopper.shop, arguments):
            user, ids, per_second = orders(shopper)
            if arguments is not None:
                shopper.until(lambda: recipients_tried(shopper.shop) > 0, "the first mail to be tried")
            else:
                shopper.shop.deadline.pause(UNREACHABLE_SECONDS)
    shopper.until(lambda: all_mailed(shopper, user["email"], ids), f"{ORDERS} mails")

    with capsys.disabled():
        print(f"\nmail server {what}: {per_second:.0f} paid orders a second, every mail arrived")
    notifications = shopper.get(f"/notification/{user['user_id']}")["notifications"]
    assert ORDERS == sum(each["sent_at"] is not None for each in notifications)
    state = RunningState(shopper.shop.ports, shopper.shop.tokens)
    assert [] == list(find_dead_letters(state, Filter(service="notification", topic="EmailRequested")))


def test_a_late_server_gets_one_copy_of_each_mail(shopper: Shopper) -> None:
    """A 250 that arrives after the event's own wait still marks the mail as sent."""
    with replaced_mail_server(shopper.shop, ("--late-seconds", LATE_SECONDS)):
        user, ids, _ = orders(shopper)

        def sent() -> int:
            notifications = shopper.get(f"/notification/{user['user_id']}")["notifications"]
            return sum(each["sent_at"] is not None for each in notifications)

        shopper.until(lambda: sent() == len(ids), f"{ORDERS} mails that were accepted late")
        assert all_mailed(shopper, user["email"], ids)


def test_a_server_that_dies_gets_no_second_copy_of_an_uncertain_mail(shopper: Shopper) -> None:
    """Each mail arrives once.

    A mail that failed before its final dot is sent again soon; one that failed after it is not sent
    again for an hour.
    """
    with replaced_mail_server(shopper.shop, ("--late-seconds", SLOW_SECONDS)):
        user, ids, _ = orders(shopper)
        shopper.until(lambda: len(shopper.mails(user["email"])) > 0, "an unanswered mail")
    shopper.until(lambda: all_mailed(shopper, user["email"], ids), f"{ORDERS} mails")


def test_a_rejected_mail_is_one_dead_letter(shopper: Shopper) -> None:
    """A mail rejected with 550 is tried once; a replay after the rejection ends sends it."""
    state = RunningState(shopper.shop.ports, shopper.shop.tokens)
    with replaced_mail_server(shopper.shop, ("--to-recipient", "550 5.1.1 no such user")):
        user, ids, _ = orders(shopper)
        selection = Filter(service="notification", topic="EmailRequested", reason=user["email"])
        shopper.until(lambda: len(list(find_dead_letters(state, selection))) == len(ids), f"{ORDERS} dead letters")
        tried = recipients_tried(shopper.shop)

    assert len(ids) == tried
    assert [] == shopper.mails(user["email"])
    assert {"replayed"} == {replay(state, each) for each in list(find_dead_letters(state, selection))}
    assert all_mailed(shopper, user["email"], ids)  # at once: the outcome tells


@pytest.mark.parametrize("pause_seconds", ["0", REFUSED_LATE_SECONDS])
def test_a_replay_says_that_the_mails_are_refused_again(shopper: Shopper, pause_seconds: str) -> None:
    """The server refuses every mail, at once or after the run has published all events.

    A mail that it refuses after the event's own wait is in the retry queue meanwhile.
    """
    state = RunningState(shopper.shop.ports, shopper.shop.tokens)
    with replaced_mail_server(shopper.shop, ("--to-recipient", "550 5.1.1 no such user")):
        user, ids, _ = orders(shopper)
        selection = Filter(service="notification", topic="EmailRequested", reason=user["email"])
        shopper.until(lambda: len(list(find_dead_letters(state, selection))) == len(ids), f"{ORDERS} dead letters")
    before = {each.id: each.first for each in find_dead_letters(state, selection)}
    with replaced_mail_server(shopper.shop, ("--to-recipient", "554 5.7.1 refused", "--pause-seconds", pause_seconds)):
        found = perform(state, "replay", select(state, selection), of_command_line(), lambda *_: None)
        after = list(find_dead_letters(state, replace(selection, reason=None)))
    open_again = {each.id: each.first for each in after if each.id in before}

    assert {"failed again": ORDERS} == found
    assert (found, "completed") == (newest_entries(state)[0].results, newest_entries(state)[0].outcome)
    assert before == open_again
    assert [] == [each.reason for each in after if each.id in before and "'5.7.1 refused'" not in each.reason]
    perform(state, "discard", select(state, Filter(tuple(before))), of_command_line(), lambda *_: None)
