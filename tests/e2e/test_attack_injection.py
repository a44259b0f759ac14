"""Texts of strangers do not reach a terminal, a log or a mail as more than text."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator

import pytest

from sidecart.cli import dead_letter_commands
from sidecart.cli import running as cli_running
from sidecart.launcher.lifecycle.system import System
from sidecart.launcher.running_state import RunningState
from sidecart.testkit.tap import Tap
from tests.e2e.conftest import options
from tests.e2e.injection import FORGED, LINES, inject
from tests.e2e.shopper import TEA, TEA_CENTS, Shopper, new_address
from tests.e2e.test_bad_events import fresh, publish

pytestmark = [pytest.mark.own_shop, pytest.mark.sidecars]

CONTROL = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80[\xa8\xa9]")
"""Control characters but for tab and line feed, and the other ends of lines, in UTF-8."""
PHISHING = (
    *("Your account is locked, visit http://evil.example", "evil.example", "www.evil.example/login", "+1 555 0100"),
    *("<a href=http://evil.example>win</a>", "<img src=x onerror=alert(1)>", "</pre><script>alert(1)</script>"),
    *(
        "x\r\nBcc: eve@evil.example",
        "x\r\n\r\n<h1>win</h1>",
        "eve@evil.example",
        "=?utf-8?q?win?=",
        "e\u200bvil.example",
    ),
)


@pytest.fixture(scope="module")
def injected(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Start a shop of its own, because other tests rely on the form of the events."""
    with System(options(tmp_path_factory.mktemp("injected")), print) as running:
        yield running


@pytest.fixture(scope="module")
def injected_tap(injected: System) -> Iterator[Tap]:
    """Return a tap, which records every event that passes the broker."""
    with Tap(injected) as running:
        yield running


@pytest.fixture
def shopper(injected: System, injected_tap: Tap) -> Iterator[Shopper]:
    """Return a client of the shop."""
    with Shopper(injected, injected_tap) as client:
        yield client


@pytest.mark.attack("injection", "forge lines of a log, control a terminal", "control characters in logs")
def test_no_text_forges_a_line_of_a_log(shopper: Shopper) -> None:
    """Every field of every request and event: all logs of the system stay one line for each record,
    without control characters.
    """
    inject(shopper)

    for log in shopper.shop.logs.glob("*.log"):
        content = log.read_bytes().replace(b"\r\n", b"\n")  # the port mapper of RabbitMQ ends its lines so
        assert [] == [line for line in content.splitlines() if line.lstrip().startswith(FORGED.encode())], log.name
        found = CONTROL.search(content)
        assert found is None, (log.name, content[max(0, found.start() - 200) : found.end() + 50])


@pytest.mark.attack("injection", "control the terminal that lists dead letters", "control characters in logs")
def test_no_text_controls_the_terminal_of_an_operator(
    shopper: Shopper, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`sidecart dead-letters` prints reasons and events that strangers wrote."""
    state = RunningState(shopper.shop.ports, shopper.shop.tokens)
    made = []
    for text in LINES:
        event = fresh("OrderPaid", order_id=str(uuid.uuid4())) | {"source": text, "subject": text}
        publish(shopper, event)
        made.append(event["id"])
    shopper.until(
        lambda: all(shopper.state("notification", f"dead:{each}").status_code == 200 for each in made), "the letters"
    )
    monkeypatch.setattr(cli_running, "running", lambda: state)
    for arguments in (["list"], ["groups"], *(["show", each] for each in made)):
        dead_letter_commands.command.main(arguments, standalone_mode=False)
    printed = capsys.readouterr().out

    assert all(each in printed for each in made)
    assert None is CONTROL.search(printed.encode())
    assert [] == [line for line in printed.splitlines() if line.startswith(FORGED)]


@pytest.mark.attack("injection", "phishing text, headers and HTML in a mail", "text of mails")
@pytest.mark.parametrize("text", PHISHING)
def test_no_text_of_a_stranger_is_in_a_mail(shopper: Shopper, text: str) -> None:
    """By the name of a registration, and by the SKU of an event; the API accepts no such SKU."""
    email = new_address()
    printable = text if text.isprintable() else "Ann"
    user_id = shopper.register(printable, email)["user_id"]
    shopper.deposit(user_id, TEA_CENTS)
    refused = shopper.http.post("/order/create", json={"user_id": user_id, "items": [TEA | {"sku": text[:64]}]})
    assert refused.status_code == 422, refused.text
    shopper.order(user_id)
    shopper.wait_for_mails(email, 1)
    order = {"user_id": user_id, "order_id": str(uuid.uuid4()), "amount_cents": TEA_CENTS}
    publish(shopper, fresh("OrderPaid", **order, items=[TEA | {"sku": text}]) | {"subject": order["order_id"]})

    mails = shopper.wait_for_mails(email, 2)
    assert {email} == {mail["to"] for mail in mails}
    for mail in mails:
        shown = json.dumps({name: value for name, value in mail.items() if name != "to"})
        assert [] == [word for word in ("evil", "locked", "win<", "alert", "+1 555", "Bcc", "<h1>win") if word in shown]
