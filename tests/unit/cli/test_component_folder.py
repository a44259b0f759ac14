"""`sidecart run --components` checks the folder before anything starts."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from sidecart.cli import component_folder
from sidecart.cli.__main__ import main
from sidecart.launcher.components import LEFT_OUT
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.lifecycle.system import Options, System
from sidecart.launcher.servers.registry import BROKERS, STORES
from tests.e2e import component_files

SETTINGS = {
    "REDIS_USERNAME": "me",
    "REDIS_PASSWORD": "secret",
    component_files.BROKER: "amqp://here",
    component_files.STORE: "there:1",
}


def system_on(folder: Path) -> System:
    """A system on a folder that has started nothing."""
    return System(Options(folder=folder.parent, components=folder, settings=SETTINGS), print)


@pytest.mark.parametrize(("broker", "store"), list(itertools.product(BROKERS, STORES)))
def test_a_good_folder_has_no_findings_and_each_left_out_check_is_named(
    broker: str, store: str, tmp_path: Path
) -> None:
    """One line each; the project's policies are judged together with the folder."""
    lines: list[str] = []
    component_folder.check(system_on(component_files.write(tmp_path / "mine", broker, store)), lines.append)

    assert [f"not checked: {each}" for each in LEFT_OUT] == lines


def test_a_danger_stops_the_start_and_a_comment_silences_it(tmp_path: Path) -> None:
    """The finding names the file, the rule and the fix."""
    folder = component_files.write(tmp_path / "mine", "redis", "redis")
    file, lines = folder / "pubsub.yaml", list[str]()
    text = file.read_text().replace('    - {name: maxLenApprox, value: "100000"}\n', "")
    file.write_text(text)

    with pytest.raises(LaunchError, match=f"{folder} can lose events"):
        component_folder.check(system_on(folder), lines.append)
    assert any("pubsub.yaml" in line and "[redis-stream-unbounded]" in line and "fix: " in line for line in lines)

    file.write_text(f"# doctor: ignore redis-stream-unbounded: trimmed by a job\n{text}")
    component_folder.check(system_on(folder), lines.append)


def test_a_folder_and_a_named_server_exclude_each_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The environment's BROKER and STORE are only defaults."""
    assert 1 == main(["run", "--components", str(tmp_path), "--broker", "redis"])
    assert "leave out --broker and --store" in capsys.readouterr().err


def test_a_missing_component_is_the_first_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is printed before it."""
    assert 1 == main(["run", "--components", str(tmp_path)])
    out, err = capsys.readouterr()
    assert ("", True) == (out, f"{tmp_path}: no component `pubsub` (pubsub.*), used by gateway, user" in err)
