"""`sidecart dead-letters`: the letters of all services, as a person reads them."""

import argparse
import json
from typing import Any

import pytest

from cli import dead_letters as module
from cli.dead_letters import find, letters
from cli.errors import LaunchError

FIRST, SECOND, THIRD = (f"{number}0000000-0000-4000-8000-000000000000" for number in (1, 2, 3))
STATE: dict[tuple[str, str], Any] = {
    ("user", "dead-index:0"): {"ids": [FIRST, SECOND]},
    ("user", "dead-index:1"): {"ids": [THIRD]},
    ("user", f"dead:{FIRST}"): {"topic": "UserCreateRequested", "reason": "malformed\ndata", "event": '{"id": 1}'},
    ("user", f"dead:{SECOND}"): {"topic": "UserCreateRequested", "reason": "r" * 200, "event": "not JSON"},
    ("order", "dead-index:0"): {"ids": [FIRST]},
    ("order", f"dead:{FIRST}"): {"topic": "OrderPaid", "reason": "never placed", "time": "2026-01-01T00:00:00.000Z"},
}


def load(service: str, key: str) -> Any:
    """Read what the services kept."""
    return STATE.get((service, key))


@pytest.fixture(autouse=True)
def running(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shop whose services kept these letters."""
    monkeypatch.setattr(module, "_running", lambda: load)


def options(**given: Any) -> argparse.Namespace:
    """The arguments of one call."""
    return argparse.Namespace(**({"service": None, "topic": None, "json": False} | given))


def test_every_page_of_every_service_is_read() -> None:
    """An id whose letter is not there yet is left out."""
    assert [("user", FIRST), ("user", SECOND), ("order", FIRST)] == [(one.service, one.id) for one in letters(load)]


def test_an_event_may_be_dead_at_several_services() -> None:
    """And be found by the beginning of its id."""
    assert ["user", "order"] == [one.service for one in find(load, FIRST[:8])]


def test_the_list_has_one_line_for_each_and_a_count(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever a reason holds."""
    assert 0 == module.list_all(options())

    lines = capsys.readouterr().out.splitlines()
    assert [FIRST, SECOND, FIRST, "3"] == [line.split()[0] for line in lines]
    assert "malformed data" in lines[0]
    assert lines[1].endswith("r...")


@pytest.mark.parametrize("given", [{"service": "order"}, {"topic": "OrderPaid"}])
def test_the_list_is_filtered(capsys: pytest.CaptureFixture[str], given: dict[str, str]) -> None:
    """By service or by topic."""
    module.list_all(options(**given))

    assert ["OrderPaid" in line for line in capsys.readouterr().out.splitlines()] == [True, False]


def test_the_list_is_json_if_asked(capsys: pytest.CaptureFixture[str]) -> None:
    """One object a line, with everything."""
    module.list_all(options(json=True, service="user"))

    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert (FIRST, "user", '{"id": 1}', "r" * 200) == (first["id"], first["service"], first["event"], second["reason"])


def test_one_letter_is_shown_whole(capsys: pytest.CaptureFixture[str]) -> None:
    """With its event, also if that is not JSON."""
    module.show(options(id=SECOND))

    shown = capsys.readouterr().out
    assert "r" * 200 in shown
    assert shown.endswith("event\nnot JSON\n")


@pytest.mark.parametrize(("wanted", "words"), [("9", "there is no dead letter 9"), ("", "3 dead letters begin with")])
def test_what_cannot_be_shown_is_said(wanted: str, words: str) -> None:
    """None, or too many."""
    with pytest.raises(LaunchError, match=words):
        module.show(options(id=wanted))
