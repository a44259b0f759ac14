"""`sidecart doctor`: its output, its exit codes and bad input."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from sidecart.cli.__main__ import main
from sidecart.doctor.targets import inspected, own
from sidecart.launcher import runfile
from sidecart.launcher.project import root

TRAPS = "tests/doctor/traps"
ENV = ("--env-file", "tests/doctor/sidecar.env")


@pytest.fixture(autouse=True)
def in_the_project(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Run from the project's folder, without a running shop."""
    monkeypatch.chdir(root())
    monkeypatch.setattr(runfile, "run_folder", lambda: tmp_path)
    monkeypatch.delenv("POD_NAME", raising=False)


def output_lines(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """The exit code, and the text on stdout and stderr."""
    code = main(["doctor", *words])
    output = capsys.readouterr()
    return code, output.out + output.err


def test_the_project_has_no_findings(capsys: pytest.CaptureFixture[str]) -> None:
    """The doctor prints a summary line only and returns 0."""
    files = inspected(own()).files
    assert (0, f"{files} files read: 0 dangers, 0 warnings, 0 notes\n") == output_lines(capsys)


@pytest.mark.parametrize(
    ("option", "left_out"), [("--broker=redis", "brokers/rabbitmq"), ("--store=postgres", "stores/redis")]
)
def test_options_limit_the_brokers_and_stores(capsys: pytest.CaptureFixture[str], option: str, left_out: str) -> None:
    """With --broker or --store the doctor reads fewer files."""
    files = inspected(own()).files - len(list((root() / "components" / left_out).glob("*.yaml")))
    assert (0, f"{files} files read: 0 dangers, 0 warnings, 0 notes\n") == output_lines(capsys, option)


def test_a_danger_has_file_line_and_fix(capsys: pytest.CaptureFixture[str]) -> None:
    """The report names file, line, rule and fix, and the exit code is 1."""
    code, text = output_lines(capsys, f"{TRAPS}/rabbitmq-no-confirm.yaml", *ENV)
    first, second, empty, last = text.splitlines()

    assert 1 == code
    assert first.startswith(f"danger  {TRAPS}/rabbitmq-no-confirm.yaml:13: ")
    assert first.endswith(" [rabbitmq-no-confirm]")
    assert '        fix: - {name: publisherConfirm, value: "true"}' == second
    assert ("", "1 file read: 1 danger, 0 warnings, 0 notes") == (empty, last)


@pytest.mark.parametrize("name", ["tracing-on-every-hop", "hot-reload-on"])
def test_warnings_and_notes_do_not_fail(capsys: pytest.CaptureFixture[str], name: str) -> None:
    """The exit code is 0 if no finding is a danger."""
    code, text = output_lines(capsys, f"{TRAPS}/{name}.yaml")

    assert 0 == code
    assert f"[{name}]" in text


def test_each_reports_every_trap_separately(capsys: pytest.CaptureFixture[str]) -> None:
    """--each checks every file on its own; --json prints one object a line."""
    code, text = output_lines(capsys, "--each", "--json", TRAPS, *ENV)
    found = [json.loads(line) for line in text.splitlines()]
    traps = sorted((root() / TRAPS).iterdir())

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
        (["nowhere"], "sidecart: nowhere does not exist\n"),
        (["components", "nowhere"], "sidecart: nowhere does not exist\n"),
        (["/dev/zero"], "sidecart: /dev/zero is neither a folder nor a file\n"),
        (
            ["components", "--env-file", "nowhere"],
            "sidecart: nowhere cannot be read as a file of NAME=value lines\n",
        ),
        (["--each", "docs/adr"], "sidecart: docs/adr contains no YAML\n"),
    ],
)
def test_bad_input_prints_one_line(capsys: pytest.CaptureFixture[str], words: list[str], expected: str) -> None:
    """The exit code is 1."""
    assert (1, expected) == output_lines(capsys, *words)


def test_an_empty_folder_is_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    """A folder without YAML does not fail the command."""
    code, text = output_lines(capsys, "docs/adr")

    assert 0 == code
    assert "[folder-empty]" in text


def test_an_unreachable_sidecar_is_a_danger(capsys: pytest.CaptureFixture[str]) -> None:
    """The summary line lists the queried addresses."""
    code, text = output_lines(
        capsys, "components/stores/redis", *ENV, "--sidecar", "http://127.0.0.1:1", "--redis", "127.0.0.1:1"
    )

    assert 1 == code
    assert "danger  http://127.0.0.1:1: no sidecar answers" in text
    assert "danger  127.0.0.1:1: " in text
    assert "1 file read, http://127.0.0.1:1, 127.0.0.1:1 queried: 2 dangers" in text


@pytest.mark.parametrize("words", [["--redis", "nonsense"], ["--sidecar", "nonsense"]])
def test_an_invalid_address_raises_nothing(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    """The doctor prints an error or a finding that quotes the address."""
    code, text = output_lines(capsys, *words)

    assert 1 == code
    assert "nonsense" in text


def test_the_documented_commands_work(capsys: pytest.CaptureFixture[str]) -> None:
    """Each command in docs/how-to/check-configuration.md returns its documented exit code."""
    text = (root() / "docs/how-to/check-configuration.md").read_text(encoding="utf-8")
    commands = re.findall(r"^\./sidecart doctor\b([^#\n]*)", text, re.MULTILINE)
    codes = [main(["doctor", *shlex.split(words)]) for words in commands]

    assert 3 <= len(commands)
    assert [0] * (len(codes) - 1) + [1] == codes  # the last one looks at the traps
    assert "redis-no-inbound-retry" in capsys.readouterr().out
