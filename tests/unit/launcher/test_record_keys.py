"""The records of an id are declared by the project, and checked."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecart.launcher import record_keys as module
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.record_keys import RecordKey, read_record_keys


def test_the_project_declares_records_of_each_service() -> None:
    """Each service has at least one record by id."""
    found = read_record_keys()

    assert {"user", "billing", "order", "notification"} == {each.app for each in found}
    assert RecordKey("order", "order:{id}") in found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[[records]]\napp = "other"\nkey = "a:{id}"\n', "needs an app of dapr.yaml"),
        ('[[records]]\napp = "order"\nkey = "order"\n', "a key with {id}"),
        ('[[records]]\napp = "order"\n', "does not declare records"),
        ("records = [", "does not declare records"),
    ],
)
def test_a_wrong_entry_is_named(text: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message has the file."""
    (tmp_path / "page.toml").write_text(text)
    monkeypatch.setattr(module, "root", lambda: tmp_path)
    monkeypatch.setattr(module, "declared_text", lambda _name: "page.toml")

    with pytest.raises(LaunchError, match=words.replace("{", "\\{")) as raised:
        read_record_keys()
    assert "page.toml" in str(raised.value)


def test_a_project_without_a_description_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search then shows dead letters and the pending command only."""
    monkeypatch.setattr(module, "declared_text", lambda _name: "")

    assert [] == read_record_keys()
