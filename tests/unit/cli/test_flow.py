"""`sidecart flow` prints what the records say about one id."""

import json

import pytest

from sidecart.cli import running
from sidecart.cli.__main__ import main
from tests.unit.launcher.test_dead_letters import FakeState

ID = "019bc104-dd14-7cc5-8058-a566ee2e7ad6"


@pytest.fixture(autouse=True)
def state(monkeypatch: pytest.MonkeyPatch) -> FakeState:
    """A system with one record of the id."""
    fake = FakeState()
    order = {"order_id": ID, "status": "paid\x1b[2J", "paid_at": "2026-01-15T09:45:00Z"}
    fake.put("order", f"order:{ID}", {"state": order, "outbox": {}})
    monkeypatch.setattr(running, "running", lambda: fake)
    return fake


def test_moments_and_records_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """The project declares which records an id has; control characters are escaped."""
    assert 0 == main(["flow", ID])

    made, moment, record = capsys.readouterr().out.splitlines()
    assert ["gateway", "id", "made", "the", "id"] == made.split()[1:]
    assert ["2026-01-15T09:45:00Z", "order", "record"] == moment.split()[:3]
    assert f"order: order:{ID}  order_id {ID}, paid_at 2026-01-15T09:45:00Z, status paid\\x1b[2J" == record


def test_the_output_is_json_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    """One object has both lists."""
    assert 0 == main(["flow", ID, "--json"])

    found = json.loads(capsys.readouterr().out)
    assert ["id", "record"] == [each["source"] for each in found["moments"]]
    assert [f"order:{ID}"] == [each["key"] for each in found["records"]]


def test_an_unknown_id_is_1(capsys: pytest.CaptureFixture[str]) -> None:
    """A script can tell."""
    assert 1 == main(["flow", ID.replace("0", "1")])
    assert "nothing is known about this id\n" == capsys.readouterr().out
    assert 1 == main(["flow", "x"])
    assert "an id is a UUID" in capsys.readouterr().err
