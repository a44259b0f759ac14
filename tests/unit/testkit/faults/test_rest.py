"""Tests of the wait for rest: it lasts while a result or a side effect is missing."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sidecart.launcher.lifecycle.system import System
from sidecart.testkit.faults import rest as rest_module
from sidecart.testkit.faults.bookkeeping import Missing, SideEffect
from sidecart.testkit.faults.ledger import Intent, Ledger
from sidecart.testkit.faults.reader import Answer, Reader
from sidecart.testkit.faults.rest import Rest
from tests.unit.testkit.faults.lamps import LampBooks, three_lamps


class LitLamps(Reader):
    """Reads lamps that are all lit, and counts the reads."""

    def __init__(self) -> None:
        super().__init__("", lambda: None)
        self.reads = 0

    def read(self, paths: Iterable[str]) -> list[Answer]:
        """Return a lit lamp for each path."""
        found = [Answer(200, {"is_lit": True}) for _ in paths]
        self.reads += len(found)
        return found


class DimLamps(LampBooks):
    """Each lamp lacks its second result until `is_bright` is set."""

    is_bright = False

    def missing(self, accepted: Iterable[Intent]) -> Iterable[Missing]:
        """Yield each accepted request, unless the lamps are bright."""
        return [] if self.is_bright else [Missing("a dim lamp", each) for each in accepted]


def waiting(consumer: str, undelivered: int, pending: int) -> Any:
    """Return the backlog of one consumer."""
    return SimpleNamespace(consumer=consumer, topic="LampLit", undelivered=undelivered, pending=pending)


class OneGateway(Rest):
    """A system with one gateway, and this backlog at its broker."""

    def __init__(self, ledger: Ledger, books: LampBooks, reader: Reader, *everything: Any) -> None:
        system = cast(System, SimpleNamespace(is_addressed=False, replicas=["gateway"]))
        super().__init__(system, ledger, books, reader, lambda: None, lambda: list(everything))


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """Return a ledger of three requests."""
    return three_lamps(tmp_path)


def test_a_repeated_side_effect_does_not_hide_a_missing_one(ledger: Ledger) -> None:
    """The system is not at rest until each final request has its own side effect."""
    names = [f"blink of {each}" for each in ledger.intents]
    books = LampBooks([SideEffect(name, 0.0) for name in (*names[:2], names[0])])

    counters = OneGateway(ledger, books, LitLamps()).counters()

    assert (1, 0, 2) == counters


def test_a_final_request_is_not_read_again(ledger: Ledger) -> None:
    """A request with all results is read once; one that lacks a result is followed."""
    books, reader = DimLamps([SideEffect(f"blink of {each}", 0.0) for each in ledger.intents]), LitLamps()
    rest = OneGateway(ledger, books, reader)

    before = [rest.counters()[0] for _ in range(2)]
    books.is_bright = True

    assert ([3, 3], 0) == (before, rest.counters()[0])
    assert (3, []) == (reader.reads, rest.missing())


def test_only_the_consumers_of_this_system_have_a_backlog(ledger: Ledger) -> None:
    """Another project may use the same broker."""
    ours, foreign = waiting("gateway-0", 2, 1), waiting("stranger", 5, 5)
    rest = OneGateway(ledger, LampBooks(), LitLamps(), ours, foreign)

    assert ([ours], 3) == (rest.backlog(), rest.counters()[1])


def test_missing_results_are_awaited_as_long_as_the_trial_says(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mail on a half-open connection is sent after its time limit."""
    monkeypatch.setattr(rest_module, "LOOK_SECONDS", 0.1)

    assert 0.5 <= OneGateway(ledger, LampBooks(), LitLamps()).wait(0.5)
