"""Each tutorial and the worked example are walked in a copy of the project: the edits apply, and
the commands print what the page says.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from sidecart.launcher.project import root
from tests.full.project_copy import copied, running, shell_environment
from tests.full.tutorial import Call, Change, NewFile, Server, read_steps

TUTORIALS = sorted((root() / "docs" / "tutorials").glob("*.md"))
WALKED = [*TUTORIALS, root() / "docs" / "how-to" / "replace-an-event.md"]
FILES_MAX = {"first-change": 12}
"""The existing and new files that a user changes by hand."""
ADDRESS = "127.0.0.1:8000"


@pytest.mark.parametrize("tutorial", WALKED, ids=lambda path: path.stem)
def test_the_steps_of_a_tutorial_work(tutorial: Path, tmp_path: Path) -> None:
    """Every output is the documented one, so each failing test leads to the next step."""
    copy = copied(tmp_path / "walked")
    address, calls = ADDRESS, 0
    with ExitStack() as stack:
        for step in read_steps(tutorial):
            match step:
                case Change() | NewFile():
                    step.apply(copy)
                case Server():
                    shop = stack.enter_context(running(tmp_path, step.command, copy))
                    address, copy = f"localhost:{shop.port}", shop.folder
                case Call():
                    calls += 1
                    call = replace(step, command=step.command.replace(ADDRESS, address))
                    assert "" == call.differs(call.run(copy, **shell_environment(copy)))
    assert calls


@pytest.mark.parametrize("tutorial", TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_changes_few_files(tutorial: Path) -> None:
    """A change that needs more files would be hard to make."""
    changed = {step.file for step in read_steps(tutorial) if isinstance(step, Change | NewFile)}

    assert changed
    assert len(changed) <= FILES_MAX.get(tutorial.stem, len(changed)), sorted(changed)
