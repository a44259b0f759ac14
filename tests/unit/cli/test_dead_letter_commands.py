"""`sidecart dead-letters` lists, shows, replays and discards the dead letters of all services."""

import itertools
import json
import os
import pwd
import signal
from typing import Any
from unicodedata import category, name

import pytest

from sidecart.cli import dead_letter_commands as commands
from sidecart.cli import running as module
from sidecart.cli.__main__ import main
from sidecart.cli.dead_letter_lines import escaped
from sidecart.launcher.errors import LaunchError
from tests.unit.launcher.test_dead_letters import FakeState

FIRST, SECOND, THIRD = (f"{number}0000000-0000-4000-8000-000000000000" for number in (1, 2, 3))
EVENT = json.dumps({"id": FIRST, "type": "UserCreateRequested"})


@pytest.fixture(autouse=True)
def state(monkeypatch: pytest.MonkeyPatch) -> FakeState:
    """A shop whose services have these dead letters."""
    fake = FakeState()
    topic: dict[str, Any] = {"topic": "UserCreateRequested", "time": ""}
    fake.put("user", "dead-index:0", {"ids": [FIRST, SECOND]})
    fake.put("user", "dead-index:1", {"ids": [THIRD]})
    fake.put("user", f"dead:{FIRST}", {**topic, "reason": "malformed\ndata", "event": EVENT})
    fake.put("user", f"dead:{SECOND}", {**topic, "reason": "r" * 200, "event": "not JSON"})
    fake.put("order", "dead-index:0", {"ids": [FIRST]})
    time = "2026-01-01T00:00:00.000Z"
    fake.put("order", f"dead:{FIRST}", {"topic": "OrderPaid", "reason": "never placed", "time": time, "event": EVENT})
    monkeypatch.setattr(module, "running", lambda: fake)
    return fake


def run(*words: str) -> int:
    """Run the command as typed in a shell."""
    return main(["dead-letters", *words])


def test_the_list_has_one_line_for_each_and_a_count(capsys: pytest.CaptureFixture[str]) -> None:
    """The list covers all pages of all services, and omits ids without a dead letter."""
    assert 0 == run("list")

    lines = capsys.readouterr().out.splitlines()
    assert [FIRST, SECOND, FIRST, "3"] == [line.split()[0] for line in lines]
    assert "malformed data" in lines[0]
    assert lines[1].endswith("r...")


@pytest.mark.parametrize("words", [("--service", "order"), ("--topic", "OrderPaid"), ("--reason", "NEVER")])
def test_the_list_is_filtered(capsys: pytest.CaptureFixture[str], words: tuple[str, ...]) -> None:
    """The list filters by service, by topic, and by a part of the reason."""
    run("list", *words)

    assert ["OrderPaid" in line for line in capsys.readouterr().out.splitlines()] == [True, False]


def test_the_list_is_json_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    """Each line is one JSON object with all fields."""
    run("list", "--json", "--service", "user")

    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert (FIRST, "user", EVENT, "r" * 200) == (first["id"], first["service"], first["event"], second["reason"])


def test_one_dead_letter_is_shown_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    """The output includes the event, even if it is not JSON."""
    run("show", SECOND)

    shown = capsys.readouterr().out
    assert "r" * 200 in shown
    assert shown.endswith("event\nnot JSON\n")


def test_one_dead_letter_is_json_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    """The object is the one of the list."""
    assert 0 == run("show", "--json", SECOND)
    shown = json.loads(capsys.readouterr().out)
    run("list", "--json")

    assert shown in [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (SECOND, "user", "not JSON", "open") == tuple(shown[name] for name in ("id", "service", "event", "status"))


@pytest.mark.parametrize(
    ("selection", "words"), [("9", "there is no dead letter 9"), ("1", "3 dead letters begin with 1")]
)
def test_an_unknown_or_ambiguous_id_is_reported(
    state: FakeState, selection: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """An unknown or ambiguous id is an error."""
    state.put("user", "dead-index:1", {"ids": ["1-other"]})
    state.put("user", "dead:1-other", state.load("user", f"dead:{FIRST}")[0])

    assert 1 == run("show", selection)

    assert words in capsys.readouterr().err


EMPTY = ["", " ", "\t"]
NO_TIME = ["garbage", "2026", "2026-13-01", "2026-01-15 09:30", "2026-01-15T09:30+02:00", "20260115", "2026-W03-4"]


@pytest.mark.parametrize("verb", ["replay", "discard", "list"])
@pytest.mark.parametrize(
    "words",
    [
        *[(option, each) for option in ("--reason", "--since", "--service", "--topic") for each in EMPTY],
        *[(option, "") for option in ("--group", "--kubernetes")],
        *[("--since", each) for each in NO_TIME],
        ("",),
        (FIRST, ""),
    ],
)
def test_an_empty_filter_selects_nothing(
    state: FakeState, verb: str, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """An unset variable of a script must not select all."""
    before = dict(state.stored)

    assert 2 == run(verb, *words)

    assert (before, []) == (state.stored, state.published)
    assert "" == capsys.readouterr().out


@pytest.mark.parametrize(
    ("since", "count"), [("2026-01-01", 1), ("2026-01-01T00:00Z", 1), ("2026-01-01T00:00:00.001Z", 0)]
)
def test_a_time_selects_what_is_later(since: str, count: int, capsys: pytest.CaptureFixture[str]) -> None:
    """The zone is UTC, with and without its letter."""
    assert 0 == run("list", "--since", since)

    assert count == len(capsys.readouterr().out.splitlines()) - 1


def test_a_dry_run_changes_nothing(state: FakeState, capsys: pytest.CaptureFixture[str]) -> None:
    """It prints what a real run would do, and what would fail."""
    before = dict(state.stored)

    assert 1 == run("replay", "--all", "--dry-run")
    assert 0 == run("discard", "--all", "--dry-run")

    assert (before, []) == (state.stored, state.published)
    output = capsys.readouterr().out
    assert "2 would replay, 1 failed" in output
    assert "you can only discard it" in output
    assert "3 would discard" in output


def test_a_replay_reports_each_outcome(state: FakeState, capsys: pytest.CaptureFixture[str]) -> None:
    """Only the selected dead letters are replayed."""
    assert 0 == run("replay", "--service", "order")
    assert 0 == run("list")

    assert ["OrderPaid"] == [topic for _, topic, _, _ in state.published]
    output = capsys.readouterr().out
    assert "1 replayed\n" in output
    assert output.endswith("2 dead letters\n")


def test_a_discard_takes_ids(state: FakeState, capsys: pytest.CaptureFixture[str]) -> None:
    """A prefix of an id is enough; discarded dead letters remain visible with --settled."""
    assert 0 == run("discard", SECOND[:4])
    assert 0 == run("list", "--settled")

    output = capsys.readouterr().out
    assert "1 discarded\n" in output
    assert "[discarded]" in output
    assert output.endswith("3 dead letters\n")


@pytest.mark.parametrize("verb", ["replay", "discard"])
def test_all_dead_letters_need_an_explicit_option(
    verb: str, state: FakeState, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a filter the command asks for a selection."""
    assert 1 == run(verb)

    assert "or --all" in capsys.readouterr().err
    assert [] == state.published


def test_a_binary_event_is_shown_in_base64_and_never_replayed(
    state: FakeState, capsys: pytest.CaptureFixture[str]
) -> None:
    """An event that is not UTF-8 is shown as base64, and can only be discarded."""
    letter = {"topic": "UserCreateRequested", "time": "", "reason": "not a CloudEvent", "event_base64": "//4="}
    state.put("user", f"dead:{THIRD}", letter)

    assert 1 == run("replay", THIRD)
    assert "is not UTF-8, so it is not an event: you can only discard it" in capsys.readouterr().out
    assert [] == state.published
    assert 0 == run("show", THIRD)
    assert capsys.readouterr().out.endswith("event\nbase64: //4=\n")
    assert 0 == run("list", "--json", "--service", "user")
    assert "//4=" == json.loads(capsys.readouterr().out.splitlines()[-1])["event_base64"]
    assert 0 == run("discard", THIRD)


def test_an_event_cannot_control_the_terminal(state: FakeState, capsys: pytest.CaptureFixture[str]) -> None:
    """Control characters in an untrusted event are escaped."""
    odd = "\x1b[2J\x9b\r\x00"
    state.put("user", f"dead:{THIRD}", {"topic": odd, "time": "", "reason": odd, "event": f"hello\n{odd}"})

    assert 0 == run("show", THIRD)
    assert 0 == run("list")

    output = capsys.readouterr().out
    assert not set("\x1b\x9b\r\x00") & set(output)
    assert "hello\n\\x1b[2J\\x9b\\r\\x00\n" in output


INVISIBLE = [
    each
    for number in range(0x110000)
    if category(each := chr(number)) in ("Cc", "Cf", "Cs", "Zl", "Zp") and each != "\n"
]


def test_no_character_is_hidden_or_reorders_a_line() -> None:
    """The list of Unicode decides; some Arabic and Syriac marks in it have a width."""
    seen = [each for each in INVISIBLE if escaped(each) == each]

    assert {"Cf"} >= {category(each) for each in seen}
    assert {"ARABIC", "SYRIAC"} == {name(each).split()[0] for each in seen}
    assert "\\u202e\\u200b\\u2066" == escaped("\u202e\u200b\u2066")
    assert "Zoë, 東京, שלום" == escaped("Zoë, 東京, שלום")


def test_an_event_cannot_reorder_or_hide_text(state: FakeState, capsys: pytest.CaptureFixture[str]) -> None:
    """A reason, a topic and an event come from strangers."""
    odd = "\u202e\u2066\u200b\ufeff"
    event = '{"id": "1", "type": "L", "name": "\\u202e \\ud800"}'  # the output is indented, so it is decoded
    state.put("user", f"dead:{THIRD}", {"topic": odd, "time": "", "reason": odd, "event": event})

    for words in (["show", THIRD], ["list"], ["groups"], ["replay", THIRD], ["replay", THIRD, "--dry-run"]):
        run(*words)
    output = capsys.readouterr().out

    assert "\\u202e \\ud800" in output
    assert not set("\u202e\u2066\u200b\ufeff") & set(output)


def test_groups_have_their_number_and_times(state: FakeState, capsys: pytest.CaptureFixture[str]) -> None:
    """One line for each cause; `--service` selects."""
    state.put("user", f"dead:{THIRD}", {"topic": "UserCreateRequested", "reason": "malformed 7", "time": "2026-01-02"})
    state.put("user", f"dead:{SECOND}", {"topic": "UserCreateRequested", "reason": "malformed 8", "time": "2026-01-01"})

    assert 0 == run("groups", "--service", "user")
    header, *lines, last = capsys.readouterr().out.splitlines()
    assert 0 == run("groups", "--json")
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    assert "2 groups, 3 dead letters" == last
    assert ["group", "open", "first", "last", "newest", "service", "topic", "reason"] == header.split()
    assert ["2", "2026-01-01", "2026-01-02", THIRD[:8], "user"] == lines[0].split()[1:6]
    assert {header.index(" reason")} == {each.index(" malformed") for each in lines}
    assert lines[0].endswith("malformed <n>")
    assert 3 == len(found)
    assert (lines[0].split()[0], 2, "malformed <n>") == (found[0]["id"], found[0]["open"], found[0]["reason"])


def test_without_groups_there_is_no_header(state: FakeState, capsys: pytest.CaptureFixture[str]) -> None:
    """The last line counts one group in the singular."""
    assert 0 == run("groups", "--service", "billing")
    assert "0 groups, 0 dead letters\n" == capsys.readouterr().out
    run("groups", "--service", "order")
    assert "1 group, 1 dead letter" == capsys.readouterr().out.splitlines()[-1]


def test_an_erased_dead_letter_is_shown_as_such(state: FakeState, capsys: pytest.CaptureFixture[str]) -> None:
    """Its user was erased: it is in no list of open ones, and its group says so."""
    topic = {"topic": "UserCreateRequested", "reason": "malformed", "time": "2026-01-02", "event": ""}
    state.put("user", f"dead:{SECOND}", {**topic, "status": "erased"})

    run("list", "--settled")
    assert f"{SECOND}" in (listed := capsys.readouterr().out)
    assert "[erased] malformed" in listed
    run("groups")
    assert "[1 erased] malformed" in (grouped := capsys.readouterr().out)
    assert grouped.endswith("2 groups, 2 dead letters, 1 erased\n")  # a group of erased ones needs no action
    assert 1 == run("replay", SECOND)
    assert "there is no dead letter" in capsys.readouterr().err


def test_a_group_is_replayed_or_discarded(state: FakeState, capsys: pytest.CaptureFixture[str]) -> None:
    """Only its dead letters change; the output has a summary, not a line for each."""
    run("groups", "--json", "--service", "order")
    group = json.loads(capsys.readouterr().out)["id"]

    assert 0 == run("replay", "--group", group[:4])  # the start is enough
    assert "1 replayed\n" == capsys.readouterr().out
    assert ["OrderPaid"] == [topic for _, topic, _, _ in state.published]
    assert 1 == run("discard", "--group", group)
    assert f"no open dead letter is in the group {group}" in capsys.readouterr().err


def test_a_run_of_a_group_prints_its_progress(
    state: FakeState, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The progress is no part of the output."""
    monkeypatch.setattr(commands, "PROGRESS_LETTERS", 1)
    for each in (FIRST, SECOND):
        stored, _ = state.load("user", f"dead:{each}")
        state.put("user", f"dead:{each}", {**stored, "reason": f"no {each}"})
    run("groups", "--json", "--service", "user")
    group = json.loads(capsys.readouterr().out.splitlines()[0])["id"]

    assert 0 == run("discard", "--group", group)
    assert ("2 discarded\n", "1 of 2\n2 of 2\n") == capsys.readouterr()


def test_each_action_names_the_user_of_this_machine_in_the_audit_trail(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dry run and a run without dead letters are no actions."""
    user = pwd.getpwuid(os.getuid()).pw_name
    monkeypatch.setenv("LOGNAME", "another")  # decides nothing
    monkeypatch.setattr("socket.gethostname", lambda: "desk")
    run("replay", "--all", "--dry-run")
    run("replay", "--topic", "OrderPaid")
    run("discard", "--topic", "OrderPaid")
    run("discard", "--all")
    capsys.readouterr()

    assert 0 == main(["audit-trail"])
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith(f"{user}@desk by cli  discard all (2)  completed: 2 discarded")
    assert second.endswith(f"{user}@desk by cli  replay topic OrderPaid (1)  completed: 1 replayed")
    assert 0 == main(["audit-trail", "--limit", "1", "--json"])
    newest = json.loads(capsys.readouterr().out)
    assert (f"{user}@desk", 1) == (newest["who"], newest["number"])
    assert 0 == main(["audit-trail", "--before", "1"])
    assert "replay" in capsys.readouterr().out
    assert 0 == main(["audit-trail", "--before", "0"])
    assert "no entries before 0\n" == capsys.readouterr().out
    assert 0 == main(["audit-trail", "--limit", "1"])
    assert "older entries: ./sidecart audit-trail --before 1" in capsys.readouterr().out


def test_an_empty_audit_trail_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """No output would look like a failure; the JSON has no line."""
    assert 0 == main(["audit-trail"])
    assert "no entries\n" == capsys.readouterr().out
    assert 0 == main(["audit-trail", "--json"])
    assert "" == capsys.readouterr().out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("verb", ["replay", "discard"])
@pytest.mark.parametrize("place", range(8))
def test_a_signal_stops_between_two_dead_letters(
    state: FakeState, number: signal.Signals, verb: str, place: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whichever call it meets, the trail has the true counts, and the rest stays open."""
    for each in (SECOND, THIRD):
        state.put("user", f"dead:{each}", state.load("user", f"dead:{FIRST}")[0])
    former = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    calls = itertools.count()
    save = state.save

    def interrupted(service: str, key: str, value: Any, etag: str | None) -> bool:
        is_saved = save(service, key, value, etag)
        if service != "gateway" and next(calls) == place:
            signal.raise_signal(number)
        return is_saved

    state.save = interrupted  # type: ignore[method-assign]  # a store in which a signal comes
    code = run(verb, "--all")

    settled = [value for (_, key), (value, _) in state.stored.items() if key.startswith("dead:") and "status" in value]
    done = {"replay": "replayed", "discard": "discarded"}[verb]
    entry = state.load("gateway", "audit:0")[0]
    assert [done] * min(place + 1, 4) == [each["status"] for each in settled]
    left = 4 - len(settled)
    assert {done: len(settled)} | ({"not reached": left} if left else {}) == entry["results"]
    assert ("interrupted" if left else "completed") == entry["outcome"]
    assert (128 + number if place < 4 else 0) == code
    assert ("not reached" in capsys.readouterr().out) == bool(left)
    assert former == [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]


def test_an_unwritable_audit_trail_stops_the_action(state: FakeState, capsys: pytest.CaptureFixture[str]) -> None:
    """The command says so, and no dead letter changes."""
    save = state.save

    def refuse(service: str, key: str, value: Any, etag: str | None) -> bool:
        if key.startswith("audit:"):
            raise LaunchError("the store of gateway refuses writes")
        return save(service, key, value, etag)

    state.save = refuse  # type: ignore[method-assign]  # a store that refuses
    before = dict(state.stored)

    assert 1 == run("discard", "--all")
    assert (before, []) == (state.stored, state.published)
    assert "the audit trail cannot be written, so nothing was done" in capsys.readouterr().err
