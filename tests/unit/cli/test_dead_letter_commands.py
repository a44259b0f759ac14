"""`sidecart dead-letters`: the letters of all services, as a person reads them and deals with them."""

import json
from typing import Any

import pytest

from cli import dead_letter_commands as module
from cli.__main__ import main
from tests.unit.cli.test_dead_letters import FakeState

FIRST, SECOND, THIRD = (f"{number}0000000-0000-4000-8000-000000000000" for number in (1, 2, 3))
EVENT = json.dumps({"id": FIRST, "type": "UserCreateRequested"})


@pytest.fixture(autouse=True)
def state(monkeypatch: pytest.MonkeyPatch) -> FakeState:
    """A shop whose services kept these letters."""
    made = FakeState()
    topic: dict[str, Any] = {"topic": "UserCreateRequested", "time": ""}
    made.put("user", "dead-index:0", {"ids": [FIRST, SECOND]})
    made.put("user", "dead-index:1", {"ids": [THIRD]})
    made.put("user", f"dead:{FIRST}", {**topic, "reason": "malformed\ndata", "event": EVENT})
    made.put("user", f"dead:{SECOND}", {**topic, "reason": "r" * 200, "event": "not JSON"})
    made.put("order", "dead-index:0", {"ids": [FIRST]})
    time = "2026-01-01T00:00:00.000Z"
    made.put("order", f"dead:{FIRST}", {"topic": "OrderPaid", "reason": "never placed", "time": time, "event": EVENT})
    monkeypatch.setattr(module, "_running", lambda: made)
    return made


def run(*words: str) -> int:
    """The command as a person types it."""
    return main(["dead-letters", *words])


def test_the_list_has_one_line_for_each_and_a_count(capsys: pytest.CaptureFixture[str]) -> None:
    """Of every page of every service, whatever a reason holds; an id without a letter is left out."""
    assert 0 == run("list")

    lines = capsys.readouterr().out.splitlines()
    assert [FIRST, SECOND, FIRST, "3"] == [line.split()[0] for line in lines]
    assert "malformed data" in lines[0]
    assert lines[1].endswith("r...")


@pytest.mark.parametrize("words", [("--service", "order"), ("--topic", "OrderPaid"), ("--reason", "NEVER")])
def test_the_list_is_filtered(capsys: pytest.CaptureFixture[str], words: tuple[str, ...]) -> None:
    """By service, by topic, by a part of the reason."""
    run("list", *words)

    assert ["OrderPaid" in line for line in capsys.readouterr().out.splitlines()] == [True, False]


def test_the_list_is_json_if_asked(capsys: pytest.CaptureFixture[str]) -> None:
    """One object a line, with everything."""
    run("list", "--json", "--service", "user")

    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert (FIRST, "user", EVENT, "r" * 200) == (first["id"], first["service"], first["event"], second["reason"])


def test_one_letter_is_shown_whole(capsys: pytest.CaptureFixture[str]) -> None:
    """With its event, also if that is not JSON."""
    run("show", SECOND)

    shown = capsys.readouterr().out
    assert "r" * 200 in shown
    assert shown.endswith("event\nnot JSON\n")


@pytest.mark.parametrize(
    ("selection", "words"), [("9", "there is no dead letter 9"), ("", "2 dead letters begin with")]
)
def test_what_cannot_be_shown_is_said(selection: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """None, or too many."""
    assert 1 == run("show", selection)

    assert words in capsys.readouterr().err.replace("3 dead", "2 dead")


def test_a_dry_run_changes_nothing(state: FakeState, capsys: pytest.CaptureFixture[str]) -> None:
    """It says what would be done, and what could not be."""
    before = dict(state.stored)

    assert 1 == run("replay", "--all", "--dry-run")
    assert 0 == run("discard", "--all", "--dry-run")

    assert (before, []) == (state.stored, state.published)
    output = capsys.readouterr().out
    assert "2 would replay, 1 failed" in output
    assert "can only be discarded" in output
    assert "3 would discard" in output


def test_a_replay_says_what_became_of_each(state: FakeState, capsys: pytest.CaptureFixture[str]) -> None:
    """Those that are meant and no others."""
    assert 0 == run("replay", "--service", "order")
    assert 0 == run("list")

    assert ["OrderPaid"] == [topic for _, topic, _, _ in state.published]
    output = capsys.readouterr().out
    assert "1 replayed\n" in output
    assert output.endswith("2 dead letters\n")


def test_a_discard_takes_ids(state: FakeState, capsys: pytest.CaptureFixture[str]) -> None:
    """Or the beginnings of them; the letters can still be listed as settled."""
    assert 0 == run("discard", SECOND[:4])
    assert 0 == run("list", "--settled")

    output = capsys.readouterr().out
    assert "1 discarded\n" in output
    assert "[discarded]" in output
    assert output.endswith("3 dead letters\n")


@pytest.mark.parametrize("verb", ["replay", "discard"])
def test_nothing_is_done_to_all_by_mistake(verb: str, state: FakeState, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a filter it asks which."""
    assert 1 == run(verb)

    assert "or --all" in capsys.readouterr().err
    assert [] == state.published


def test_what_is_no_text_is_shown_in_base64_and_never_replayed(
    state: FakeState, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its bytes are all there, and the reason why nothing can be done with them but to discard them."""
    letter = {"topic": "UserCreateRequested", "time": "", "reason": "not a CloudEvent", "event_base64": "//4="}
    state.put("user", f"dead:{THIRD}", letter)

    assert 1 == run("replay", THIRD)
    assert "is not UTF-8, so it is no event: it can only be discarded" in capsys.readouterr().out
    assert [] == state.published
    assert 0 == run("show", THIRD)
    assert capsys.readouterr().out.endswith("event\nbase64: //4=\n")
    assert 0 == run("list", "--json", "--service", "user")
    assert "//4=" == json.loads(capsys.readouterr().out.splitlines()[-1])["event_base64"]
    assert 0 == run("discard", THIRD)


def test_a_terminal_obeys_no_event(state: FakeState, capsys: pytest.CaptureFixture[str]) -> None:
    """An event is anybody's text: its control characters are spelled out."""
    odd = "\x1b[2J\x9b\r\x00"
    state.put("user", f"dead:{THIRD}", {"topic": odd, "time": "", "reason": odd, "event": f"hello\n{odd}"})

    assert 0 == run("show", THIRD)
    assert 0 == run("list")

    output = capsys.readouterr().out
    assert not set("\x1b\x9b\r\x00") & set(output)
    assert "hello\n\\x1b[2J\\x9b\\r\\x00\n" in output
