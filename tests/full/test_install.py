"""`pip install .` in a new environment gives a `sidecart` that works outside of this project."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sidecart.cli.commands import TOOLKIT, of_project
from sidecart.launcher.project import root

INSTALL_SECONDS = 600
REDIS = ("brokers/redis", "stores/redis", "policies")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the toolkit from a copy of the project: the build writes beside its source."""
    folder = tmp_path_factory.mktemp("install")
    shutil.copytree(root() / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "LICENSE"):
        shutil.copy(root() / name, folder)
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    pip = [str(folder / "venv" / "bin" / "pip"), "install", "--disable-pip-version-check", "--quiet"]
    done = subprocess.run([*pip, str(folder)], capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    assert 0 == done.returncode, done.stderr
    return folder / "venv" / "bin" / "sidecart"


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
