"""The entry point ends without a traceback at a signal, also while a command is imported."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sidecart.launcher.environment import plain_environment
from sidecart.launcher.project import PROJECT

DECLARED = """\
[tool.sidecart.commands]
greet = { command = "greetings:greet", help = "print a greeting" }
"""
MODULE = """\
import os

class Signalled:
    def __set_name__(self, owner, name):
        os.kill(os.getpid(), {number})

class Greeting:
    word = Signalled()
"""
DROPPED = """\
import os, time
import click

class Finalized:
    def __del__(self):
        os.kill(os.getpid(), {number})

@click.command()
def greet():
    Finalized()
    time.sleep(60)
"""
BROKEN = """\
class Broken:
    def __set_name__(self, owner, name):
        raise ValueError("broken")

class Greeting:
    word = Broken()
"""


def greet(folder: Path, module: str) -> subprocess.CompletedProcess[str]:
    """Run the command of a project whose module is this text."""
    (folder / "pyproject.toml").write_text(DECLARED)
    (folder / "greetings.py").write_text(module)
    return subprocess.run(
        [sys.executable, "-m", "sidecart.cli.entry_point", "greet"],
        env=plain_environment() | {PROJECT: str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("module", [MODULE, DROPPED], ids=["import", "finalizer"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda each: each.name)
def test_a_signal_whose_exception_is_lost_ends_without_a_traceback(
    tmp_path: Path, number: signal.Signals, module: str
) -> None:
    """Python 3.11 hides it behind a RuntimeError of a new class, and drops it in a finalizer."""
    done = greet(tmp_path, module.format(number=int(number)))

    assert (128 + number, "") == (done.returncode, done.stderr)


def test_another_error_of_a_class_is_reported(tmp_path: Path) -> None:
    """Only a signal ends a command silently."""
    done = greet(tmp_path, BROKEN)

    assert 1 == done.returncode
    assert "ValueError: broken" in done.stderr
