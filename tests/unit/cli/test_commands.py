"""A project adds commands of its own to `sidecart`."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecart.cli.__main__ import main
from sidecart.cli.commands import TOOLKIT, Command, of_project
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.project import PROJECT, load, root

DECLARED = """\
[tool.sidecart.commands]
greet = { add = "greetings:add", help = "print a greeting to a person, with as many words as a narrow terminal cuts" }
"""
MODULE = """\
def add(parser):
    parser.add_argument("name")
    parser.set_defaults(command=lambda options: print("hello", options.name) or 3)
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Make a folder the project, with one command."""
    (tmp_path / "pyproject.toml").write_text(DECLARED)
    (tmp_path / "greetings.py").write_text(MODULE)
    monkeypatch.setenv(PROJECT, str(tmp_path))
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    root.cache_clear()
    yield tmp_path
    root.cache_clear()
    sys.modules.pop("greetings", None)


def test_a_command_of_the_project_runs(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The project's function adds the arguments; the exit code is its command's."""
    assert 3 == main(["greet", "ann"])
    assert "hello ann\n" == capsys.readouterr().out


def test_the_help_lists_the_project_s_commands_apart(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The help has the toolkit's commands, then the project's; it imports neither."""
    (project / "greetings.py").write_text("raise AssertionError")

    with pytest.raises(SystemExit) as exit:
        main(["--help"])

    own, _, projects = capsys.readouterr().out.partition("\ncommands of this project:\n")
    assert 0 == exit.value.code
    assert all(f"\n    {name}" in own for name in TOOLKIT)
    assert projects.startswith("    greet         print a greeting to a person")
    assert all(len(line) <= 80 for line in projects.splitlines())
    assert "greet" not in own


def test_a_command_of_the_toolkit_reads_no_declaration(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A mistake in pyproject.toml stops the project's commands only."""
    (project / "pyproject.toml").write_text("[")

    assert 1 == main(["status"])
    assert "no system is running (start one: make run)\n" == capsys.readouterr().out
    assert 1 == main(["greet"])
    assert f"sidecart: {project / 'pyproject.toml'} cannot be read: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "output"),
    [
        ('greet = "greetings:add"', 'needs greet = { add = "module:function", help = "..." }'),
        ('greet = { add = "greetings:add" }', 'needs greet = { add = "module:function", help = "..." }'),
        ('greet = { add = "greetings:add", help = "x", more = 1 }', "needs greet = "),
        ('run = { add = "greetings:add", help = "x" }', "declares `run`, which is a command of the toolkit"),
        (
            'greet = { add = "nowhere:add", help = "x" }',
            "the command `greet` cannot be loaded from `nowhere:add`: No",
        ),
        (
            'greet = { add = "greetings:no", help = "x" }',
            "cannot be loaded from `greetings:no`: module 'greetings'",
        ),
        ('greet = { add = "", help = "x" }', "the command `greet` cannot be loaded from ``: Empty module name"),
    ],
)
def test_a_wrong_declaration_is_reported_in_one_line(
    project: Path, text: str, output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message names the command, and the file or the reference."""
    (project / "pyproject.toml").write_text(f"[tool.sidecart.commands]\n{text}\n")

    assert 1 == main(["greet", "ann"])
    err = capsys.readouterr().err
    assert output in err
    assert 1 == err.count("\n")


def test_a_module_with_a_syntax_error_is_reported(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The message names the file and its line."""
    (project / "greetings.py").write_text("def add(:")

    assert 1 == main(["greet", "ann"])
    assert "the command `greet` cannot be loaded from `greetings:add`: invalid syntax" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "[tool]", "[tool.other]", "[tool.sidecart]\ncommands = {}"])
def test_a_project_may_have_no_commands(tmp_path: Path, text: str) -> None:
    """A project without pyproject.toml, or without the table, has none."""
    assert {} == of_project(tmp_path)
    (tmp_path / "pyproject.toml").write_text(text)
    assert {} == of_project(tmp_path)


def test_the_table_is_a_table(tmp_path: Path) -> None:
    """Another value is refused."""
    (tmp_path / "pyproject.toml").write_text("[tool.sidecart]\ncommands = 5")

    with pytest.raises(LaunchError, match=r"\[tool.sidecart.commands\] is not a table"):
        of_project(tmp_path)


@pytest.mark.parametrize("command", [*TOOLKIT.values(), *of_project(root()).values()], ids=lambda each: each.add)
def test_every_declared_command_can_be_loaded(command: Command) -> None:
    """The references of the toolkit and of this project name functions."""
    assert callable(load(command.add, "the command"))
