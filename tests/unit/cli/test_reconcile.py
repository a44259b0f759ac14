"""`sidecart reconcile` lists unfinished requests, repeats their commands, and waits."""

import json
from collections.abc import Sequence

import pytest

from sidecart.cli import reconcile
from sidecart.cli.__main__ import main
from sidecart.launcher.unfinished import Unfinished

FIRST = Unfinished("order", "o-1", "2026-01-15T09:30:00Z", 0)
SECOND = Unfinished("order", "o-2", "2026-01-15T09:31:00Z", 2)


class FakeGateways:
    """Gateways that find requests, of which some stay unfinished after the repetition."""

    def __init__(self, found: Sequence[Unfinished], stuck: Sequence[Unfinished]) -> None:
        self._found = list(found)
        self._stuck = list(stuck)

    def unfinished(self) -> list[Unfinished]:
        """Return the unfinished requests."""
        return self._found

    def reconcile(self) -> list[Unfinished]:
        """Return the requests whose commands are repeated."""
        repeated, self._found = self._found, self._stuck
        return repeated


def gateways(monkeypatch: pytest.MonkeyPatch, found: Sequence[Unfinished], stuck: Sequence[Unfinished] = ()) -> None:
    """Make these the gateways of the running system."""
    monkeypatch.setattr(reconcile, "running", lambda: FakeGateways(found, stuck))


@pytest.mark.parametrize(("stuck", "code", "last"), [((), 0, "healed 2"), ((SECOND,), 1, "1 still stuck")])
def test_the_exit_code_tells_whether_all_requests_ended(
    stuck: Sequence[Unfinished],
    code: int,
    last: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each repeated request is one line; the last line counts them."""
    gateways(monkeypatch, [FIRST, SECOND], stuck)

    assert code == main(["reconcile", "--wait", "0"])
    lines = capsys.readouterr().out.splitlines()
    assert [FIRST.line(), SECOND.line()] == lines[:2]
    assert last == lines[-1]


def test_each_request_is_a_json_object_with_its_state_on_request(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The state after the wait is in the object."""
    gateways(monkeypatch, [FIRST, SECOND], [SECOND])

    assert 1 == main(["reconcile", "--wait", "0", "--json"])
    first, second = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {"kind": "order", "id": "o-1", "at": FIRST.at, "attempts": 0, "state": "healed"} == first
    assert ("o-2", "stuck") == (second["id"], second["state"])


def test_a_dry_run_only_lists(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The exit code is 0, also with unfinished requests."""
    gateways(monkeypatch, [FIRST])

    assert 0 == main(["reconcile", "--dry-run"])
    assert f"{FIRST.line()}\n1 unfinished\n" == capsys.readouterr().out
    assert 0 == main(["reconcile", "--dry-run", "--json"])
    assert "unfinished" == json.loads(capsys.readouterr().out)["state"]
