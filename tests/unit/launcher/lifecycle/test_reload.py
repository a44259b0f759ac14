"""A changed file restarts the apps that run it, one at a time, if their modules can be imported."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from sidecart.launcher.apps import App
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.lifecycle.options import Options
from sidecart.launcher.lifecycle.plan import plan_of
from sidecart.launcher.lifecycle.reload import (
    FileChanges,
    Program,
    Reloader,
    affected,
    folders,
    import_problem,
    programs,
)
from sidecart.launcher.project import root
from sidecart.launcher.topics import app_ids

MODULES = {"gateway": "gateway.app", "till": "services.till.app", "book": "services.book.app"}
TAKES_MAX = 500  # each call of FileChanges takes at least 20 ms


def program(folder: Path, name: str) -> Program:
    """Return a program of a project in a folder."""
    command = (sys.executable, "-m", MODULES[name])
    return Program(App(name, folder, command, {}, "warn", folder / "config.yaml", ()), MODULES[name])


def programs_in(folder: Path) -> dict[str, Program]:
    """Return the programs of a project in a folder."""
    return {name: program(folder, name) for name in MODULES}


class Edited:
    """A reloader of fake apps, whose changed files, import errors and ready apps a test sets."""

    def __init__(self, found: Mapping[str, Program]) -> None:
        self.files: set[Path] = set()
        self.problems: dict[str, str] = {}
        self.ready: set[str] = set()
        self.restarted: list[str] = []
        self.output: list[str] = []
        self.reloaded: frozenset[str] = frozenset()
        self.reloader = Reloader(
            self,  # type: ignore[arg-type]  # the reloader needs only `is_ready` of a system
            self,  # type: ignore[arg-type]  # and only `restart` and `reloaded` of a supervisor
            found,
            self._take,
            self.output.append,
            lambda each: self.problems.get(each.app.app_id, ""),
        )

    def _take(self) -> set[Path]:
        taken, self.files = self.files, set()
        return taken

    def is_ready(self, name: str) -> bool:
        """Return whether an app is ready."""
        return name in self.ready

    def restart(self, name: str) -> None:
        """Record a restart."""
        self.ready.discard(name)
        self.restarted.append(name)

    def look(self, *files: str) -> list[str]:
        """Change files, run the reloader, and return the restarted apps."""
        self.files = {Path("/project", file) for file in files}
        before = len(self.restarted)
        self.reloader.look()
        return self.restarted[before:]


@pytest.fixture
def edited() -> Edited:
    """Return a reloader of three apps."""
    return Edited(programs_in(Path("/project")))


def test_a_changed_file_restarts_its_app(edited: Edited) -> None:
    """The output names the file, and says when the app is ready."""
    assert ["till"] == edited.look("services/till/domain.py")
    assert [] == edited.look()
    edited.ready = {"till"}
    assert [] == edited.look()
    assert [] == edited.look()

    assert ["/project/services/till/domain.py changed: restarting till", "till is ready"] == edited.output
    assert set(MODULES) == edited.reloaded


def test_a_shared_file_restarts_all_apps_one_at_a_time(edited: Edited) -> None:
    """An app restarts only after the previous one is ready."""
    assert ["gateway"] == edited.look("contracts/topics.json")
    assert [] == edited.look()
    edited.ready = {"gateway"}
    assert ["till"] == edited.look()
    assert [] == edited.look()
    edited.ready = {"till"}
    assert ["book"] == edited.look()
    edited.ready = {"book"}
    assert [] == edited.look()

    assert list(MODULES) == edited.restarted


def test_several_files_of_an_app_restart_it_once(edited: Edited) -> None:
    """An editor may save many files together."""
    assert ["book"] == edited.look("services/book/domain.py", "services/book/events.py")
    edited.ready = {"book"}

    assert [] == edited.look()


def test_an_app_that_cannot_be_imported_keeps_running(edited: Edited) -> None:
    """The output has the error, and a corrected file restarts the app."""
    edited.problems = {"till": "    SyntaxError: invalid syntax"}

    assert [] == edited.look("services/till/domain.py")
    assert [
        "/project/services/till/domain.py changed, but till keeps its old code: the import fails\n"
        "    SyntaxError: invalid syntax"
    ] == edited.output
    edited.problems = {}
    assert ["till"] == edited.look("services/till/domain.py")


def test_an_error_of_one_app_does_not_stop_the_next(edited: Edited) -> None:
    """An error that several apps share is printed once."""
    edited.problems = {"gateway": "    NameError", "till": "    NameError"}

    assert ["book"] == edited.look("src/toolkit/module.py")
    assert 1 == sum("NameError" in line for line in edited.output)
    assert "/project/src/toolkit/module.py changed, but till keeps its old code: the same error" in edited.output


def test_a_new_change_does_not_wait_for_an_app_that_is_not_ready(edited: Edited) -> None:
    """The change may repair the app."""
    assert ["till"] == edited.look("services/till/app.py")
    assert [] == edited.look()

    assert ["till"] == edited.look("services/till/app.py")
    assert ["book"] == edited.look("services/book/app.py")


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("gateway/commands.py", ["gateway"]),
        ("services/till/domain.py", ["till"]),
        ("services/till/inner/module.py", ["till"]),
        ("services/tills.py", ["till", "book"]),
        ("services/__init__.py", ["till", "book"]),
        ("services/other/module.py", list(MODULES)),
        ("contracts/schemas/Sold.json", list(MODULES)),
        ("src/toolkit/module.py", list(MODULES)),
    ],
)
def test_the_folder_of_a_file_selects_the_apps(file: str, expected: list[str]) -> None:
    """A module beside the packages of several apps belongs to each of them."""
    assert expected == affected(programs_in(Path("/project")), Path("/project", file))


def test_the_programs_are_those_of_the_run_file(tmp_path: Path) -> None:
    """Each replica has its package; the watched folders have all packages and the shared code."""
    found = programs(plan_of(Options(folder=tmp_path, gateways=2)))

    assert {*app_ids(), "gateway-1"} == set(found)
    assert all((each.package / "app.py").is_file() for each in found.values())
    assert found["gateway"].package == found["gateway-1"].package
    assert [root() / name for name in ("contracts", "gateway", "services", "src")] == folders(found.values())


def test_a_replacement_is_not_watched(tmp_path: Path) -> None:
    """The code of another program lies outside of the watched folders."""
    example = root() / "examples" / "user-node"

    assert "user" not in programs(plan_of(Options(folder=tmp_path, replaced={"user": example})))


def written(folder: Path, text: str) -> Program:
    """Write the module of an app, and return its program."""
    package = folder / "services" / "till"
    package.mkdir(parents=True)
    (package / "app.py").write_text(text, encoding="utf-8")
    return program(folder, "till")


def test_a_correct_module_can_be_imported(tmp_path: Path) -> None:
    """The import finds the packages of the project and those of the toolkit."""
    assert "" == import_problem(written(tmp_path, "import sidecart.chassis\n"))


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("def (\n", "SyntaxError"),
        ("import a_module_that_does_not_exist\n", "ModuleNotFoundError: No module named 'a_module_that"),
        ("x = 1\n\n\nraise ValueError('wrong')\n", "ValueError: wrong"),
    ],
)
def test_an_error_of_a_module_is_returned(tmp_path: Path, text: str, error: str) -> None:
    """The text ends with the error, and names the line of the file."""
    problem = import_problem(written(tmp_path, text))

    assert problem.splitlines()[-1].startswith(f"    {error}")
    assert "app.py" in problem


def taken(changes: FileChanges) -> set[Path]:
    """Return the next changed files."""
    for _ in range(TAKES_MAX):
        if found := changes():
            return found
    raise AssertionError("no change was reported")


def test_changed_files_are_reported(tmp_path: Path) -> None:
    """A new, a replaced and a deleted file count, at any depth."""
    (tmp_path / "code").mkdir()
    changes = FileChanges([tmp_path])
    file = tmp_path / "code" / "module.py"

    assert set() == changes()
    file.write_text("x = 1\n", encoding="utf-8")
    assert {file} == taken(changes)

    new = file.with_suffix(".new")
    new.write_text("x = 22\n", encoding="utf-8")
    new.replace(file)
    assert {file} == taken(changes)

    file.unlink()
    assert {file} == taken(changes)


def test_only_code_and_contracts_are_reported(tmp_path: Path) -> None:
    """Documents, bytecode and temporary files of editors restart nothing."""
    changes = FileChanges([tmp_path])
    for name in ("README.md", "module.pyc", ".module.py.swp", ".#module.py", "topics.json"):
        (tmp_path / name).write_text("1", encoding="utf-8")

    assert {tmp_path / "topics.json"} == taken(changes)


def test_a_missing_folder_is_reported(tmp_path: Path) -> None:
    """The message is one line for the caller."""
    with pytest.raises(LaunchError, match="cannot watch the files"):
        FileChanges([tmp_path / "nowhere"])
