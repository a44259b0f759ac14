"""In a new environment, the sdist gives a `sidecart` that works outside of this project."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from sidecart.cli.commands import TOOLKIT, of_project
from sidecart.launcher.project import root

INSTALL_SECONDS = 600
REDIS = ("brokers/redis", "stores/redis", "policies")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build an sdist from a copy of the project, and install it: pip builds the wheel from it."""
    folder = tmp_path_factory.mktemp("install")
    shutil.copytree(root() / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "LICENSE", "README.md"):
        shutil.copy(root() / name, folder)
    requires = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["build-system"]["requires"]
    python = folder / "venv" / "bin" / "python"
    pip = (python, "-m", "pip", "install", "--disable-pip-version-check", "--quiet")
    call(folder, sys.executable, "-m", "venv", folder / "venv")
    call(folder, *pip, *requires)
    call(folder, python, "-c", "from setuptools import build_meta; build_meta.build_sdist('dist')")
    [sdist] = (folder / "dist").glob("*.tar.gz")
    call(folder, *pip, sdist)
    return folder / "venv" / "bin" / "sidecart"


def call(folder: Path, *words: str | Path) -> None:
    """Run a program in a folder; fail with its errors."""
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    assert 0 == done.returncode, done.stderr


def files(folder: Path) -> set[str]:
    """Return the files of a package by their path in it."""
    found = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(folder)) for path in found}


def test_every_file_of_the_toolkit_is_installed(program: Path) -> None:
    """The live page needs its scripts and styles, and type checkers need the marker file."""
    [installed] = program.parents[1].glob("lib/python3.*/site-packages/sidecart")

    assert files(root() / "src" / "sidecart") == files(installed)
    assert {"monitor/static/index.html", "py.typed"} <= files(installed)


def run(program: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder, with an environment that names no project and no toolkit."""
    env = {"PATH": "/usr/bin:/bin", "HOME": str(folder)}
    return subprocess.run([program, *words], cwd=folder, env=env, capture_output=True, text=True, check=False)


def test_the_help_lists_the_commands_of_the_toolkit(program: Path, tmp_path: Path) -> None:
    """Outside of a project there are no other commands."""
    done = run(program, tmp_path, "--help")

    assert (0, "") == (done.returncode, done.stderr)
    assert all(f"\n  {name} " in done.stdout for name in TOOLKIT)
    assert "Commands of this project" not in done.stdout


def test_the_doctor_checks_any_folder(program: Path, tmp_path: Path) -> None:
    """The doctor needs no project: it finds a mistake in a copy of the components, and no other."""
    shutil.copytree(root() / "components", tmp_path / "copy")
    paths = [f"copy/{name}" for name in REDIS]
    healthy = run(program, tmp_path, "doctor", *paths)
    store = tmp_path / "copy" / "stores" / "redis" / "statestore.yaml"
    store.write_text(store.read_text("utf-8").replace("state.redis", "state.in-memory"), "utf-8")
    wrong = run(program, tmp_path, "doctor", *paths)

    assert (0, "") == (healthy.returncode, healthy.stderr)
    assert "6 files read: 0 dangers" in healthy.stdout
    assert (1, "") == (wrong.returncode, wrong.stderr)
    assert "in-memory" in wrong.stdout


@pytest.mark.parametrize("command", ["run", "status", "logs", "stop", "reset", "dead-letters list", "doctor"])
def test_a_command_that_needs_a_project_says_so(program: Path, tmp_path: Path, command: str) -> None:
    """The command prints one line, writes nothing and exits with 1."""
    done = run(program, tmp_path, *command.split())

    assert (1, "") == (done.returncode, done.stdout)
    assert (
        f"sidecart: there is no project: neither {tmp_path} nor a folder above it contains dapr.yaml\n" == done.stderr
    )
    assert [] == list(tmp_path.iterdir())


def test_in_a_project_the_installed_program_works_on_it(program: Path, tmp_path: Path) -> None:
    """The doctor reads the project's own files, and the help lists the project's commands.

    The project has no environment of its own.
    """
    for name in ("components", "contracts", "dapr", "tye-or-compose"):
        shutil.copytree(root() / name, tmp_path / name, ignore=shutil.ignore_patterns("secrets*", "names.sqlite*"))
    for name in ("dapr.yaml", "pyproject.toml"):
        shutil.copy(root() / name, tmp_path)
    (tmp_path / "services").mkdir()
    listed = run(program, tmp_path / "services", "--help")
    checked = run(program, tmp_path / "services", "doctor", "--files-only")

    _, _, own = listed.stdout.partition("Commands of this project:")
    assert [] == [name for name in of_project(root()) if f"\n  {name} " not in own]
    assert {"demo", "test"} <= set(of_project(root()))
    assert (0, "") == (checked.returncode, checked.stderr)
    assert "0 dangers, 0 warnings" in checked.stdout
