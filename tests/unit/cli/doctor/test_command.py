"""`sidecart doctor`: what is printed, the exit code, and bad input."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from cli import runfile
from cli.__main__ import main
from cli.project import ROOT

TRAPS = "tests/doctor/traps"
ENV = ("--env-file", "tests/doctor/sidecar.env")


@pytest.fixture(autouse=True)
def in_the_project(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Run from the project's folder, with no shop that runs."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(runfile.read, "__defaults__", (tmp_path,))
    monkeypatch.delenv("POD_NAME", raising=False)


def output_lines(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """The exit code and what is printed."""
    code = main(["doctor", *words])
    output = capsys.readouterr()
    return code, output.out + output.err


def test_the_project_is_sound(capsys: pytest.CaptureFixture[str]) -> None:
    """One line, and 0."""
    assert (0, "16 files read: 0 dangers, 0 warnings, 0 notes\n") == output_lines(capsys)


@pytest.mark.parametrize(("option", "files"), [("--broker=redis", 11), ("--store=postgres", 15)])
def test_one_broker_or_store_of_the_project(capsys: pytest.CaptureFixture[str], option: str, files: int) -> None:
    """Less is read."""
    assert (0, f"{files} files read: 0 dangers, 0 warnings, 0 notes\n") == output_lines(capsys, option)


def test_a_danger_has_file_line_and_fix(capsys: pytest.CaptureFixture[str]) -> None:
    """And 1."""
    code, text = output_lines(capsys, f"{TRAPS}/rabbitmq-no-confirm.yaml", *ENV)
    first, second, empty, last = text.splitlines()

    assert 1 == code
    assert first.startswith(f"danger  {TRAPS}/rabbitmq-no-confirm.yaml:13: ")
    assert first.endswith(" [rabbitmq-no-confirm]")
    assert '        fix: - {name: publisherConfirm, value: "true"}' == second
    assert ("", "1 file read: 1 danger, 0 warnings, 0 notes") == (empty, last)


@pytest.mark.parametrize("name", ["tracing-on-every-hop", "hot-reload-on"])
def test_advice_is_no_failure(capsys: pytest.CaptureFixture[str], name: str) -> None:
    """A warning, a note: 0."""
    code, text = output_lines(capsys, f"{TRAPS}/{name}.yaml")

    assert 0 == code
    assert f"[{name}]" in text


def test_a_folder_of_traps_is_told_trap_by_trap(capsys: pytest.CaptureFixture[str]) -> None:
    """Each file by itself; as JSON, one object a line."""
    code, text = output_lines(capsys, "--each", "--json", TRAPS, *ENV)
    found = [json.loads(line) for line in text.splitlines()]
    traps = sorted((ROOT / TRAPS).iterdir())

    assert 1 == code
    assert [path.stem for path in traps] == sorted(one["rule"] for one in found)
    assert all(
        Path(one["file"]).is_relative_to(f"{TRAPS}/{one['rule']}") or f"/{one['rule']}.yaml" in one["file"]
        for one in found
    )
    assert {"rule", "severity", "file", "line", "what", "fix"} == set(found[0])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["nowhere"], "sidecart: nowhere is not there\n"),
        (["components", "nowhere"], "sidecart: nowhere is not there\n"),
        (["/dev/zero"], "sidecart: /dev/zero is no folder and no file\n"),
        (
            ["components", "--env-file", "nowhere"],
            "sidecart: nowhere is no file of NAME=value lines that can be read\n",
        ),
        (["--each", "docs/adr"], "sidecart: there is no YAML in docs/adr\n"),
    ],
)
def test_bad_input_is_one_line(capsys: pytest.CaptureFixture[str], words: list[str], expected: str) -> None:
    """And 1."""
    assert (1, expected) == output_lines(capsys, *words)


def test_an_empty_folder_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """It is advice: there may be something in it one day."""
    code, text = output_lines(capsys, "docs/adr")

    assert 0 == code
    assert "[folder-empty]" in text


def test_a_sidecar_that_is_unreachable_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """What was asked is in the last line."""
    code, text = output_lines(
        capsys, "components/stores/redis", *ENV, "--sidecar", "http://127.0.0.1:1", "--redis", "127.0.0.1:1"
    )

    assert 1 == code
    assert "danger  http://127.0.0.1:1: no sidecar answers" in text
    assert "danger  127.0.0.1:1: " in text
    assert "1 file read, http://127.0.0.1:1, 127.0.0.1:1 asked: 2 dangers" in text


@pytest.mark.parametrize("words", [["--redis", "nonsense"], ["--sidecar", "nonsense"]])
def test_an_address_that_is_none_is_no_traceback(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    """One line, or a finding."""
    code, text = output_lines(capsys, *words)

    assert 1 == code
    assert "nonsense" in text


def test_what_the_readme_says_of_it_is_true(capsys: pytest.CaptureFixture[str]) -> None:
    """Every command, run as it stands there."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^\./sidecart doctor\b([^#\n]*)", text, re.MULTILINE)
    codes = [main(["doctor", *shlex.split(words)]) for words in commands]

    assert 3 <= len(commands)
    assert [0] * (len(codes) - 1) + [1] == codes  # the last one looks at the traps
    assert "redis-no-inbound-retry" in capsys.readouterr().out
