"""`sidecart logs` prints the ends of the logs."""

import json
from pathlib import Path

import pytest

from sidecart.cli import logs
from sidecart.cli.__main__ import main


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The logs of two processes."""
    (tmp_path / "order.log").write_text("one\ntwo\n")
    (tmp_path / "user-sidecar.log").write_text('{"msg": "three"}\n')
    monkeypatch.setattr(logs, "log_folder", lambda: tmp_path)
    return tmp_path


def test_lines_of_several_processes_have_names(capsys: pytest.CaptureFixture[str]) -> None:
    """The names form a column; one process alone needs no name."""
    assert 0 == main(["logs"])
    lines = ["order        | one", "order        | two", 'user-sidecar | {"msg": "three"}']
    assert lines == capsys.readouterr().out.splitlines()

    assert 0 == main(["logs", "order", "-n", "1"])
    assert "two\n" == capsys.readouterr().out


def test_each_line_is_a_json_object_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    """The object has the process too if there is only one."""
    assert 0 == main(["logs", "--json"])
    assert [
        {"process": "order", "line": "one"},
        {"process": "order", "line": "two"},
        {"process": "user-sidecar", "line": '{"msg": "three"}'},
    ] == [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    assert 0 == main(["logs", "order", "--lines", "1", "--json"])
    assert {"process": "order", "line": "two"} == json.loads(capsys.readouterr().out)
