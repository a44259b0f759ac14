"""`sidecart contracts check` lists the changes since the newest release."""

import json

import pytest

from sidecart.cli.__main__ import main
from sidecart.contracts import releases
from sidecart.contracts.compatibility import Change

FIELD = "contracts/schemas/CandleLit.json: data.scent"
UNDATED = f'{FIELD} is optional and lacks "x-since"'


@pytest.fixture(autouse=True)
def changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A breaking change, a compatible one, and an optional field without a version."""
    found = [Change("a.json", "removed", breaks="readers fail"), Change("b.json", "added", note="readers first")]
    monkeypatch.setattr(releases, "changes", lambda _folder: found)
    monkeypatch.setattr(releases, "undated", lambda _folder: iter([UNDATED]))
    monkeypatch.setattr(releases, "versions", lambda _folder: ["1.0.0"])


def test_the_changes_are_listed_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    """A breaking change is exit code 1."""
    assert 1 == main(["contracts", "check"])
    lines = capsys.readouterr().out.splitlines()
    assert UNDATED == lines[2]
    assert "contracts: 1 breaking and 1 compatible changes since 1.0.0" == lines[3]


def test_each_change_is_a_json_object_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    """The exit code is the same, and there is no other line."""
    assert 1 == main(["contracts", "check", "--json"])
    assert [
        {"kind": "breaking", "place": "a.json", "what": "removed", "reason": "readers fail"},
        {"kind": "compatible", "place": "b.json", "what": "added", "reason": "readers first"},
        {"kind": "undated", "place": FIELD, "what": 'is optional and lacks "x-since"', "reason": ""},
    ] == [json.loads(line) for line in capsys.readouterr().out.splitlines()]
