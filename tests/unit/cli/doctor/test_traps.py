"""One trap a file: the doctor names it, on its line, and nothing else; and would not without the rule."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.doctor.findings import Finding
from cli.doctor.rules import IDLE, RULES, Rule, judge
from cli.doctor.starts import Environment, read_env_file
from cli.doctor.targets import each_apart, named
from cli.project import ROOT

TRAPS = ROOT / "tests" / "doctor" / "traps"
ALL = sorted(TRAPS.iterdir())
MARK = "here"
WITHOUT_A_LINE = {"folder-empty", "resources-nested-folder", "resources-other-file"}
"""They are about a folder, or about a file that has no YAML in it."""


def first_in(trap: Path, rules: tuple[Rule, ...] = RULES) -> list[Finding]:
    """What the doctor says of a trap by itself."""
    variables = read_env_file(TRAPS.parent / "sidecar.env")
    assert variables
    return [one for config in named([trap], Environment(variables)) for one in judge(config, rules)]


def marked(trap: Path) -> list[tuple[str, int]]:
    """The lines of a trap's files that end with the mark: where the finding belongs."""
    files = [trap] if trap.is_file() else sorted(path for path in trap.rglob("*") if path.is_file())
    return [
        (str(file.relative_to(ROOT)), number)
        for file in files
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if line.endswith(MARK)
    ]


@pytest.fixture(autouse=True)
def in_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    """Places are told as seen from here."""
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("trap", ALL, ids=lambda path: path.stem)
def test_a_trap_is_named_on_its_line_and_nothing_else_is(trap: Path) -> None:
    """Whatever else a file says is sound."""
    found = first_in(trap)
    places = [] if trap.stem in WITHOUT_A_LINE else marked(trap)

    assert [trap.stem] == [one.rule for one in found]
    assert places == [(one.place.file, one.place.line) for one in found if one.place.line]
    assert all(one.what and one.fix for one in found)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_trap_is_named_by_its_own_rule_alone(rule: Rule) -> None:
    """Taken out, nobody else finds it."""
    (trap,) = (path for path in ALL if path.stem == rule.id)

    assert first_in(trap)
    assert [] == first_in(trap, tuple(each for each in RULES if each is not rule))


def test_each_rule_has_its_trap() -> None:
    """And each trap its rule; a comment that ignores nothing is found beside the rules."""
    assert sorted([*(rule.id for rule in RULES), IDLE]) == sorted(path.stem for path in ALL)


def test_one_command_names_them_all() -> None:
    """`sidecart doctor --each tests/doctor/traps`: each file as if a sidecar read nothing else."""
    variables = read_env_file(TRAPS.parent / "sidecar.env")
    found = {one.rule for config in each_apart([TRAPS], Environment(variables or {})) for one in judge(config)}

    assert {path.stem for path in ALL} == found
