"""Restarts apps whose code changed, for `sidecart run --reload`.

A changed file restarts the apps whose package contains it. A file that belongs to no app, such as a
contract or a module of the toolkit, restarts all apps. Before an app restarts, a separate process
imports its module. If the import fails, the running process stays.

Apps restart one at a time: the next one waits until the previous one is ready. A change that breaks
the first app therefore leaves the others on their old code.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from watchfiles import Change, DefaultFilter, watch

from sidecart.launcher.apps import App, module_of
from sidecart.launcher.documents import shown
from sidecart.launcher.environment import plain_environment
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.lifecycle.options import Report
from sidecart.launcher.lifecycle.plan import Plan
from sidecart.launcher.lifecycle.supervisor import Supervisor
from sidecart.launcher.lifecycle.system import System
from sidecart.launcher.project import root
from sidecart.launcher.topics import CONTRACTS
from sidecart.launcher.topology import app_of

SHARED = (CONTRACTS, "src")
"""The folders that belong to no app. A checkout has the toolkit in `src`."""
SUFFIXES = frozenset({".py", ".json"})
"""Code and contracts. Python writes bytecode beside them, and editors write temporary files."""
STEP_MS = 20
"""How long a check for changes blocks the supervisor; files saved together become one change."""
IMPORT_SECONDS = 30.0  # an import takes about a second, unless the module waits for something
ERROR_LINES = 4  # the place and the kind of an error are at the end of a traceback


@dataclass(frozen=True, slots=True)
class Program:
    """A Python module of the project that runs as an app."""

    app: App
    module: str

    @property
    def package(self) -> Path:
        """The folder with the app's own code."""
        return self.app.folder.joinpath(*self.module.split(".")[:-1])

    @property
    def tree(self) -> Path:
        """The top folder of the package, which other apps may share."""
        return self.app.folder.joinpath(*self.module.split(".")[:-1][:1])


def programs(plan: Plan) -> dict[str, Program]:
    """Return the replicas that dapr.yaml starts as Python modules, by name.

    A replacement is left out, because its code lies outside of the watched folders.
    """
    apps = {name: plan.apps[app_of(name)] for name in plan.replicas}
    return {
        name: Program(app, module)
        for name, app in apps.items()
        if app.app_id not in plan.options.replaced and (module := module_of(app.app_id))
    }


def folders(found: Iterable[Program]) -> list[Path]:
    """Return the folders to watch."""
    shared = (root() / name for name in SHARED)
    return sorted({*(each.tree for each in found), *(folder for folder in shared if folder.is_dir())})


def affected(found: Mapping[str, Program], path: Path) -> list[str]:
    """Return the replicas that a changed file restarts.

    A module beside the packages of several apps restarts each of them.
    """
    own = [
        name
        for name, each in found.items()
        if path.is_relative_to(each.package) or each.package.is_relative_to(path.parent)
    ]
    return own or list(found)


def import_problem(program: Program) -> str:
    """Import the module in a process of its own; return the end of the error, or an empty text."""
    python = program.app.command[: program.app.command.index("-m")]
    try:
        done = subprocess.run(
            [*python, "-c", f"import {program.module}"],
            cwd=program.app.folder,
            env={**plain_environment(), **program.app.env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=IMPORT_SECONDS,
            start_new_session=True,  # Ctrl-C in a terminal reaches only the launcher
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"    the import takes more than {IMPORT_SECONDS:.0f} s"
    if done.returncode == 0:
        return ""
    return "\n".join(f"    {line}" for line in done.stderr.splitlines()[-ERROR_LINES:])


class FileChanges:
    """The changed files below some folders, as the operating system reports them."""

    def __init__(self, watched: Iterable[Path]) -> None:
        """Begin to watch. Raise LaunchError if the operating system refuses."""
        self._batches = watch(*watched, watch_filter=_is_source, step=STEP_MS, rust_timeout=1, yield_on_timeout=True)
        try:
            next(self._batches)  # the first step starts the watch
        except OSError as error:
            raise LaunchError(f"--reload cannot watch the files of the project: {error}") from error

    def __call__(self) -> set[Path]:
        """Return the files that changed since the last call; do not wait for a change."""
        return {Path(path) for _, path in next(self._batches)}


_is_no_temporary_file = DefaultFilter()


def _is_source(change: Change, path: str) -> bool:
    return Path(path).suffix in SUFFIXES and _is_no_temporary_file(change, path)


class Reloader:
    """Restarts the apps of a running system after changes of their code.

    Call `look` several times a second from the thread that started the system.
    """

    def __init__(
        self,
        system: System,
        supervisor: Supervisor,
        found: Mapping[str, Program],
        changes: Callable[[], Iterable[Path]],
        report: Report,
        problem_of: Callable[[Program], str] = import_problem,
    ) -> None:
        self._system = system
        self._supervisor = supervisor
        self._programs = found
        self._changes = changes
        self._report = report
        self._problem_of = problem_of
        self._waiting: dict[str, Path] = {}
        self._starting = ""
        self._problem = ""
        supervisor.reloaded = frozenset(found)

    def look(self) -> None:
        """Note the changed files; restart the next app if the previous one is ready."""
        changed = sorted(self._changes())
        for path in changed:
            for name in affected(self._programs, path):
                self._waiting.setdefault(name, path)
        if changed:
            self._starting = ""  # the change may repair an app that does not become ready
        if self._starting and self._system.is_ready(self._starting):
            self._report(f"{self._starting} is ready")
            self._starting = ""
        while self._waiting and not self._starting:
            name = next(iter(self._waiting))
            self._restart(name, self._waiting.pop(name))

    def _restart(self, name: str, path: Path) -> None:
        """Restart an app if its module can be imported; report the error otherwise."""
        problem = self._problem_of(self._programs[name])
        if problem:
            error = "the same error" if problem == self._problem else f"the import fails\n{problem}"
            self._report(f"{shown(path)} changed, but {name} keeps its old code: {error}")
            self._problem = problem
            return
        self._report(f"{shown(path)} changed: restarting {name}")
        self._supervisor.restart(name)
        self._starting, self._problem = name, ""


def reloader(system: System, supervisor: Supervisor, report: Report) -> Reloader:
    """Begin to watch the files of a running system; raise LaunchError if that is not possible."""
    found = programs(system.plan)
    watched = folders(found.values())
    changes = FileChanges(watched)
    report(f"a change in {', '.join(f'{shown(folder)}/' for folder in watched)} restarts its apps")
    return Reloader(system, supervisor, found, changes, report)
