"""The script `./sidecart` makes the toolkit in src/ known to the project's environment."""

import importlib.util
import os
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest

from sidecart.launcher.environment import plain_environment
from sidecart.launcher.project import root


def script_of(project: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Load `./sidecart` as a module whose project is this folder."""
    loader = SourceFileLoader("script", str(root() / "sidecart"))
    spec = importlib.util.spec_from_loader("script", loader)
    assert spec is not None
    script = importlib.util.module_from_spec(spec)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # it would lie beside the script
    loader.exec_module(script)
    monkeypatch.setattr(script, "ROOT", project)
    monkeypatch.setattr(script, "VENV", project / ".venv")
    return script


def project_with(folder: Path) -> Path:
    """Create a project with a toolkit of its own."""
    (folder / "src" / "sidecart").mkdir(parents=True)
    (folder / "src" / "sidecart" / "__init__.py").touch()
    return folder


def toolkit_of(project: Path) -> Path:
    """Return the toolkit that the project's Python imports in an environment without PYTHONPATH."""
    words = [str(project / ".venv" / "bin" / "python"), "-c", "import sidecart; print(sidecart.__file__)"]
    environment = {name: value for name, value in plain_environment().items() if name != "PYTHONPATH"}
    done = subprocess.run(words, cwd="/", env=environment, capture_output=True, text=True, check=True)
    return Path(done.stdout.strip()).parent


def test_the_environment_finds_the_toolkit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`.venv/bin/python -m gateway.app`, as in dapr.yaml, imports the toolkit of its project.

    So does a copy of the project that shares the environment.
    """
    project, copy = project_with(tmp_path / "project"), project_with(tmp_path / "copy")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", project / ".venv"], check=True)
    (copy / ".venv").symlink_to(project / ".venv")

    script_of(project, monkeypatch).link()
    script_of(copy, monkeypatch).link()

    assert project / "src" / "sidecart" == toolkit_of(project)
    assert copy / "src" / "sidecart" == toolkit_of(copy)


def test_an_environment_with_the_link_stays_unchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second start writes nothing, so that concurrent starts do not disturb each other."""
    packages = tmp_path / ".venv" / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    packages.mkdir(parents=True)
    script = script_of(tmp_path, monkeypatch)
    script.link()
    os.utime(packages / script.LINK, (1, 1))

    script.link()

    assert 1 == (packages / script.LINK).stat().st_mtime
    assert [script.LINK] == [path.name for path in packages.iterdir()]
