"""The board: whoever reads the snapshot and whoever is told of each change know the same in the end."""

from __future__ import annotations

from typing import Any

from monitor.board import MAILS_SHOWN, ON, Board
from monitor.flows import Call
from monitor.health import Health
from monitor.letters import Desk
from tests.unit.monitor.test_flows import example, mail_for


class Page:
    """A board, and what it told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []
        self.board = Board({"broker": "any"}, lambda kind, body: self.told.append((kind, body)), lambda: 0.0)

    @property
    def kinds(self) -> list[str]:
        """What was told so far."""
        return [kind for kind, _ in self.told]


def test_an_event_is_told_with_its_flow_and_kept_in_the_snapshot() -> None:
    """The flow is told without its other steps: whoever looks has them."""
    page = Page()
    page.board.passed(example("OrderCreateRequested"))
    page.board.passed(example("OrderCreated"))

    change = page.told[-1][1]
    assert (["step", "step"], "OrderCreated", []) == (page.kinds, change.step.name, change.flow.steps)
    assert [2] == [len(flow.steps) for flow in page.board.snapshot()["flows"]]


def test_somebody_new_is_told_once() -> None:
    """By the event or by the answer, whichever is first."""
    page, created = Page(), example("UserCreated")
    answer = {name: created.data[name] for name in ("user_id", "name", "email")}
    page.board.called(Call("/user/register", answer, 201, "CREATED", answer, 0, 1))
    page.board.passed(created)

    assert 1 == page.kinds.count("person")
    assert ["Ada Lovelace"] == [person.name for person in page.board.snapshot()["people"]]


def test_mails_are_told_and_the_newest_kept() -> None:
    """And each is an arrow of the flow that asked for it."""
    page, asked = Page(), example("EmailRequested")
    page.board.passed(asked)
    page.board.mailed([{"id": number, "message_id": str(number)} for number in range(MAILS_SHOWN)])
    page.board.mailed([mail_for(asked)])

    assert ["step", "mails", "mails", "step"] == page.kinds
    assert MAILS_SHOWN == len(page.board.snapshot()["mails"])
    assert mail_for(asked) == page.board.snapshot()["mails"][-1]


def test_what_is_as_it_was_is_not_told_again() -> None:
    """Health, letters and the tap are looked at again and again."""
    page = Page()
    for _ in range(2):
        page.board.looked_after([Health("order", "ready", "up", 0)])
        page.board.lettered(Desk(0, []))
        page.board.lettered("away")
        page.board.tapped(ON)

    assert ["health", "letters", "tap", "letters", "letters"] == page.kinds
    assert ("away", {"state": "on", "why": ""}) == (
        page.board.snapshot()["letters"],
        page.board.snapshot()["tap"],
    )
