"""A project adds commands of its own to `sidecart`."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from sidecart.cli.__main__ import main
from sidecart.cli.commands import TOOLKIT, CommandReference, of_project
from sidecart.cli.group import COMPLETE_VARIABLE
from sidecart.launcher.environment import plain_environment
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.project import PROJECT, root

DECLARED = """\
[tool.sidecart.commands]
greet = { command = "greetings:greet", help = "print a greeting to a person, with as many words as a terminal cuts" }
"""
MODULE = """\
import click

@click.command()
@click.argument("name")
def greet(name):
    print("hello", name)
    return 3
"""
WAIT_SECONDS = 60


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
    """The exit code is the one that the project's function returns."""
    assert 3 == main(["greet", "ann"])
    assert "hello ann\n" == capsys.readouterr().out


def test_the_help_lists_the_project_s_commands_apart(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The help has the toolkit's commands, then the project's; it imports neither."""
    (project / "greetings.py").write_text("raise AssertionError")

    assert 0 == main(["--help"])
    own, _, projects = capsys.readouterr().out.partition("\nCommands of this project:\n")
    assert all(f"\n  {name} " in own for name in TOOLKIT)
    assert projects.startswith("  greet  print a greeting to a person")
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
        ('greet = "greetings:greet"', 'needs greet = { command = "module:name", help = "..." }'),
        ('greet = { command = "greetings:greet" }', 'needs greet = { command = "module:name", help = "..." }'),
        ('greet = { command = "greetings:greet", help = "x", more = 1 }', "needs greet = "),
        ('greet = { add = "greetings:greet", help = "x" }', "needs greet = "),
        ('run = { command = "greetings:greet", help = "x" }', "declares `run`, which is a command of the toolkit"),
        (
            'greet = { command = "nowhere:greet", help = "x" }',
            "the command `greet` cannot be loaded from `nowhere:greet`: No",
        ),
        (
            'greet = { command = "greetings:no", help = "x" }',
            "cannot be loaded from `greetings:no`: module 'greetings'",
        ),
        (
            'greet = { command = "greetings:click", help = "x" }',
            "the command `greet` cannot be loaded from `greetings:click`: this is no click.Command",
        ),
        ('greet = { command = "", help = "x" }', "the command `greet` cannot be loaded from ``: Empty module name"),
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
    (project / "greetings.py").write_text("def greet(:")

    assert 1 == main(["greet", "ann"])
    assert "the command `greet` cannot be loaded from `greetings:greet`: invalid syntax" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("return None", 0),
        ("return 5", 5),
        ("click.get_current_context().exit(4)", 4),
        ("raise click.UsageError('no')", 2),
        ("raise click.ClickException('no')", 1),
        ("raise click.Abort", 130),
        ("raise KeyboardInterrupt", 130),
    ],
)
def test_each_end_of_a_command_has_its_exit_code(project: Path, body: str, code: int) -> None:
    """`main` returns the code; it neither exits nor lets an exception of click pass."""
    (project / "greetings.py").write_text(MODULE.replace("return 3", body))

    assert code == main(["greet", "ann"])


def test_a_closed_pipe_is_no_error(project: Path) -> None:
    """`sidecart greet ann | true` prints no traceback and exits with 0."""
    (project / "greetings.py").write_text(MODULE.replace("return 3", "print('x' * 1_000_000)"))
    command = [sys.executable, "-m", "sidecart.cli", "greet", "ann"]
    environment = {**plain_environment(), PROJECT: str(project)}

    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        err = process.stderr.read()
        code = process.wait(WAIT_SECONDS)

    assert (0, b"") == (code, err)


def test_a_wrong_declaration_does_not_disturb_the_completion(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The toolkit's commands are completed, and nothing is printed on stderr."""
    (project / "pyproject.toml").write_text("[")
    monkeypatch.setenv(COMPLETE_VARIABLE, "bash_complete")
    monkeypatch.setenv("COMP_CWORD", "1")
    monkeypatch.setenv("COMP_WORDS", "sidecart st")
    assert 0 == main([])
    assert ("plain,status\nplain,stop\n", "") == capsys.readouterr()

    monkeypatch.setenv("COMP_CWORD", "2")
    monkeypatch.setenv("COMP_WORDS", "sidecart greet a")
    assert 1 == main([])
    assert ("", "") == capsys.readouterr()


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


@pytest.mark.parametrize("reference", [*TOOLKIT.values(), *of_project(root()).values()], ids=lambda each: each.command)
def test_every_declared_command_can_be_loaded(reference: CommandReference) -> None:
    """The references of the toolkit and of this project name commands."""
    assert isinstance(reference.load("the command"), click.Command)


LOADING = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from sidecart.cli.commands import CommandReference
number = signal.Signals[sys.argv[2]]
signal.signal(number, lambda *_: sys.exit("unwound"))
CommandReference("interrupted:command", "").load("x")
"""
REPLACING = """
import os, signal, sys
try:
    os.kill(os.getpid(), signal.Signals[sys.argv[2]])
    for _ in range(10**7):
        pass
except BaseException:
    raise ImportError("replaced") from None  # as a module in C does
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda each: each.name)
def test_a_signal_ends_the_loading_of_a_command(tmp_path: Path, number: signal.Signals) -> None:
    """A module can replace the exception of a handler, and the signal would be a failed import."""
    (tmp_path / "interrupted.py").write_text(REPLACING, encoding="utf-8")
    words = [sys.executable, "-c", LOADING, str(tmp_path), number.name]

    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=root())

    assert (128 + number, "", "") == (done.returncode, done.stdout, done.stderr)
