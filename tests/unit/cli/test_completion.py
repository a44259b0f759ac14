"""`sidecart completion` prints a script for a shell, and the shell's requests are answered."""

from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from sidecart.cli import logs
from sidecart.cli.__main__ import main
from sidecart.cli.group import COMPLETE_VARIABLE, PROGRAM, group

SCRIPTS = {
    "bash": "complete -o nosort -F _sidecart_completion sidecart",
    "zsh": "#compdef sidecart",
    "fish": "complete --no-files --command sidecart",
}
"""A part of the script of each shell."""


def completed(*words: str) -> list[str]:
    """Return the completions of the last word."""
    completion = ShellComplete(group, {}, PROGRAM, COMPLETE_VARIABLE)
    return [item.value for item in completion.get_completions(list(words[:-1]), words[-1])]


@pytest.mark.parametrize("shell", SCRIPTS)
def test_the_script_of_a_shell_is_printed(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It asks the program for completions by the variable."""
    assert 0 == main(["completion", shell])
    script = capsys.readouterr().out
    assert SCRIPTS[shell] in script
    assert f"{COMPLETE_VARIABLE}={shell}_complete" in script


def test_the_shell_of_the_environment_is_the_default(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An unsupported one is an error that lists the supported ones."""
    monkeypatch.setenv("SHELL", "/usr/bin/zsh")
    assert 0 == main(["completion"])
    assert SCRIPTS["zsh"] in capsys.readouterr().out

    monkeypatch.setenv("SHELL", "/bin/tcsh")
    assert 1 == main(["completion"])
    assert "choose from bash, zsh, fish" in capsys.readouterr().err


def test_a_shell_asks_by_a_variable(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The program prints the completions instead of running a command."""
    monkeypatch.setenv(COMPLETE_VARIABLE, "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "./sidecart dead-letters sh")
    monkeypatch.setenv("COMP_CWORD", "2")

    assert 0 == main([])
    assert "plain,show\n" == capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("rec",), ["reconcile"]),
        (("test-",), ["test-fast", "test-full", "test-compose", "test-kubernetes"]),
        (("dead-letters", "re"), ["replay"]),
        (("dead-letters", "list", "--topic", "UserC"), ["UserCreateRequested", "UserCreated", "UserCreateRejected"]),
        (("dead-letters", "list", "--service", "bil"), ["billing"]),
        (("demo", "--without", "not"), ["notification"]),
        (("run", "--broker", ""), ["redis", "rabbitmq"]),
        (("faults", "--mutants", "--mutant", "out"), ["outbox", "outbox before next save"]),
        (("run", "--gate"), ["--gateways"]),
    ],
)
def test_names_are_completed(words: tuple[str, ...], expected: list[str]) -> None:
    """Commands, options, apps, topics and choices are completed."""
    assert expected == completed(*words)


def test_the_names_of_logs_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are the files of the folder."""
    for name in ("order.log", "order-sidecar.log", "user.log"):
        (tmp_path / name).touch()
    monkeypatch.setattr(logs, "log_folder", lambda: tmp_path)

    assert ["order", "order-sidecar"] == completed("logs", "ord")
