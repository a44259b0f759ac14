"""Each trap file triggers exactly its own rule, on the marked line."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecart.doctor.findings import Finding
from sidecart.doctor.rules import IDLE, RULES, Rule, judge
from sidecart.doctor.starts import Environment, read_env_file
from sidecart.doctor.targets import each_apart, named
from sidecart.launcher.project import root

TRAPS = root() / "tests" / "doctor" / "traps"
ALL = sorted(TRAPS.iterdir())
MARK = "here"
WITHOUT_A_LINE = {"folder-empty", "resources-nested-folder", "resources-other-file"}
"""These findings concern a folder, or a file that is not YAML."""


def first_in(trap: Path, rules: tuple[Rule, ...] = RULES) -> list[Finding]:
    """The doctor's findings for one trap."""
    variables = read_env_file(TRAPS.parent / "sidecar.env")
    assert variables
    return [one for config in named([trap], Environment(variables)) for one in judge(config, rules)]


def marked(trap: Path) -> list[tuple[str, int]]:
    """The lines that end with the mark, where the findings belong: file and line number."""
    files = [trap] if trap.is_file() else sorted(path for path in trap.rglob("*") if path.is_file())
    return [
        (str(file.relative_to(root())), number)
        for file in files
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if line.endswith(MARK)
    ]


@pytest.fixture(autouse=True)
def in_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run from the project's folder, so that places are relative to it."""
    monkeypatch.chdir(root())


@pytest.mark.parametrize("trap", ALL, ids=lambda path: path.stem)
def test_a_trap_triggers_its_rule_on_the_marked_line(trap: Path) -> None:
    """No other rule matches the file."""
    found = first_in(trap)
    places = [] if trap.stem in WITHOUT_A_LINE else marked(trap)

    assert [trap.stem] == [one.rule for one in found]
    assert places == [(one.place.file, one.place.line) for one in found if one.place.line]
    assert all(one.what and one.fix for one in found)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_only_its_own_rule_finds_a_trap(rule: Rule) -> None:
    """Without that rule the doctor finds nothing in the trap."""
    (trap,) = (path for path in ALL if path.stem == rule.id)

    assert first_in(trap)
    assert [] == first_in(trap, tuple(each for each in RULES if each is not rule))


def test_rules_and_traps_match() -> None:
    """Each rule has a trap and each trap a rule, apart from the check of idle comments."""
    assert sorted([*(rule.id for rule in RULES), IDLE]) == sorted(path.stem for path in ALL)


def test_one_command_finds_all_traps() -> None:
    """`sidecart doctor --each tests/doctor/traps` checks each file on its own."""
    variables = read_env_file(TRAPS.parent / "sidecar.env")
    found = {one.rule for config in each_apart([TRAPS], Environment(variables or {})) for one in judge(config)}

    assert {path.stem for path in ALL} == found
