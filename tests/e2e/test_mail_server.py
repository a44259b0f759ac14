"""A mail server that is unreachable, slow, or refuses: orders go on as before, mails come later or end as one dead
letter.

MAIL_UNREACHABLE_SECONDS says for how long it is unreachable (10 unless told).
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

from cli.dead_letters import Filter, RunningState, find_dead_letters, replay
from cli.ports import is_listening
from cli.shop import MAIL_CATCHER, Shop
from cli.tap import Tap
from tests.e2e.conftest import options
from tests.e2e.shopper import SECONDS, TEA, TEA_CENTS, Shopper

UNREACHABLE_SECONDS = float(os.environ.get("MAIL_UNREACHABLE_SECONDS", "10"))
ORDERS = 40
SLOW_SECONDS = "30"
LATE_SECONDS = "7"

pytestmark = pytest.mark.own_shop


@pytest.fixture(scope="module")
def post_shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A shop of its own, which tries again soon."""
    made = options(tmp_path_factory.mktemp("post"))
    with Shop(replace(made, env={"MAIL_RETRY_SECONDS": "1"}), print) as running:
        yield running


@pytest.fixture(scope="module")
def post_tap(post_shop: Shop) -> Iterator[Tap]:
    """Every event that passes the broker."""
    with Tap(post_shop) as running:
        yield running


@pytest.fixture
def shopper(post_shop: Shop, post_tap: Tap) -> Iterator[Shopper]:
    """Somebody who looks into the mailbox."""
    with Shopper(post_shop, post_tap) as someone:
        yield someone


@contextmanager
def instead_of_the_mail_server(shop: Shop, arguments: Sequence[str] | None) -> Iterator[None]:
    """Nobody, or one that says something else, for a while."""
    shop.stop_process(MAIL_CATCHER)
    if arguments is not None:
        start(shop, *arguments)
    try:
        yield
    finally:
        if arguments is not None:
            shop.stop_process(MAIL_CATCHER)
        start(shop)


def start(shop: Shop, *arguments: str) -> None:
    """Start the mail server and wait for it."""
    shop.start_mail_catcher(*arguments)
    shop.deadline.until(lambda: is_listening(shop.ports["mail-http"]), SECONDS, lambda: "no mail catcher", 0.1)


def asked(shop: Shop) -> int:
    """How many recipients the mail server was told of."""
    return int(httpx.get(f"{shop.mail_url}/recipients", trust_env=False).json()["recipients"])


def orders(shopper: Shopper) -> tuple[dict[str, str], list[str], float]:
    """A user, paid orders all at once, and how many a second were answered 201 and paid."""
    user = shopper.register()
    shopper.deposit(user["user_id"], ORDERS * TEA_CENTS)
    started = time.monotonic()

    async def send_all() -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=shopper.shop.url, timeout=SECONDS, trust_env=False) as http:
            body = {"user_id": user["user_id"], "items": [TEA]}
            return await asyncio.gather(*(http.post("/order/create", json=body) for _ in range(ORDERS)))

    answers = asyncio.run(send_all())
    assert {201} == {answer.status_code for answer in answers}
    ids = [str(answer.json()["order_id"]) for answer in answers]
    assert {"OrderPaid"} == {shopper.final(each) for each in ids}
    return user, ids, ORDERS / (time.monotonic() - started)


def told_of(shopper: Shopper, email: str, ids: list[str]) -> bool:
    """Whether there is one mail about each order, and no second one."""
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
def test_orders_go_on_and_mails_come_later(
    shopper: Shopper, what: str, arguments: Sequence[str] | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each order is paid as fast as ever, and is told of once when the mail server is itself again."""
    if what == "there":
        user, ids, per_second = orders(shopper)
    else:
        with instead_of_the_mail_server(shopper.shop, arguments):
            user, ids, per_second = orders(shopper)
            if arguments is not None:
                shopper.until(lambda: asked(shopper.shop) > 0, "the first mail to be tried")
            else:
                shopper.shop.deadline.pause(UNREACHABLE_SECONDS)
    shopper.until(lambda: told_of(shopper, user["email"], ids), f"{ORDERS} mails")

    with capsys.disabled():
        print(f"\nmail server {what}: {per_second:.0f} paid orders a second, every mail came")
    notifications = shopper.get(f"/notification/{user['user_id']}")["notifications"]
    assert ORDERS == sum(each["sent_at"] is not None for each in notifications)
    state = RunningState(shopper.shop.ports, shopper.shop.tokens["DAPR_API_TOKEN"])
    assert [] == list(find_dead_letters(state, Filter(service="notification", topic="EmailRequested")))


def test_a_server_that_answers_late_gets_one_copy_of_each(shopper: Shopper) -> None:
    """250 comes so late that no event waits for it, and is noted all the same."""
    with instead_of_the_mail_server(shopper.shop, ("--late-seconds", LATE_SECONDS)):
        user, ids, _ = orders(shopper)

        def sent() -> int:
            notifications = shopper.get(f"/notification/{user['user_id']}")["notifications"]
            return sum(each["sent_at"] is not None for each in notifications)

        shopper.until(lambda: sent() == len(ids), f"{ORDERS} mails that were taken late")
        assert told_of(shopper, user["email"], ids)


def test_a_server_that_dies_with_mails_gets_no_second_copy_of_what_it_may_have_taken(shopper: Shopper) -> None:
    """Each is there once: what was before its dot comes soon, what was after it is not sent again for an hour."""
    with instead_of_the_mail_server(shopper.shop, ("--late-seconds", SLOW_SECONDS)):
        user, ids, _ = orders(shopper)
        shopper.until(lambda: len(shopper.mails(user["email"])) > 0, "a mail that is not answered")
    shopper.until(lambda: told_of(shopper, user["email"], ids), f"{ORDERS} mails")


def test_a_mail_that_is_refused_is_one_dead_letter(shopper: Shopper) -> None:
    """550: at once, once each, and nothing waits; replayed when the server has thought better of it, it is sent."""
    state = RunningState(shopper.shop.ports, shopper.shop.tokens["DAPR_API_TOKEN"])
    with instead_of_the_mail_server(shopper.shop, ("--to-recipient", "550 5.1.1 no such user")):
        user, ids, _ = orders(shopper)
        selection = Filter(service="notification", topic="EmailRequested", reason=user["email"])
        shopper.until(lambda: len(list(find_dead_letters(state, selection))) == len(ids), f"{ORDERS} dead letters")
        tried = asked(shopper.shop)

    assert len(ids) == tried
    assert [] == shopper.mails(user["email"])
    assert {"replayed"} == {replay(state, each) for each in list(find_dead_letters(state, selection))}
    shopper.until(lambda: told_of(shopper, user["email"], ids), f"{ORDERS} mails")
