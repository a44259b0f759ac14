"""Build tools run with a limit, their lines are counted, and a failure names the remedy."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sidecart.launcher.builds import run
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.errors import Interrupted, LaunchError


def python(program: str, folder: Path, deadline: Deadline, lines: list[int]) -> str:
    """Run a program as a build tool."""
    return run([sys.executable, "-c", program], folder, {}, "set DAPRD", deadline, lines.append)


def test_the_output_is_returned_and_lines_are_counted(tmp_path: Path) -> None:
    """The progress counts the lines of stderr; the result is stdout."""
    lines: list[int] = []
    program = "import sys, time; print('a\\nb', file=sys.stderr, flush=True); time.sleep(0.6); print('done')"

    assert "done\n" == python(program, tmp_path, Deadline(), lines)
    assert 2 == lines[-1]


def test_a_failure_has_the_last_line_and_the_remedy(tmp_path: Path) -> None:
    """The last line of stderr says what went wrong."""
    with pytest.raises(LaunchError, match=r"failed: no module \(set DAPRD\)"):
        python("import sys; sys.exit('first\\nno module')", tmp_path, Deadline(), [])


def test_a_stop_ends_the_tool(tmp_path: Path) -> None:
    """Ctrl-C does not wait for a build."""
    deadline = Deadline()
    deadline.stop()

    with pytest.raises(Interrupted):
        python("import time; time.sleep(60)", tmp_path, deadline, [])
