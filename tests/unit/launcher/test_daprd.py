"""The launcher finds daprd: an installed program first; its own build keeps systems apart."""

import threading
from pathlib import Path

import pytest

from sidecart.launcher import daprd, programs
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.errors import Interrupted, LaunchError


def test_the_configured_program_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DAPRD has precedence; an unusable program is reported in one line."""
    program = tmp_path / "my-daprd"
    program.write_bytes(b"#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("DAPRD", str(program))

    found = daprd.find(print, Deadline())

    assert (program, "$DAPRD", False) == (found.path, found.source, found.has_sqlite_resolver)
    monkeypatch.setenv("DAPRD", str(tmp_path / "nothing"))
    with pytest.raises(LaunchError, match="not an executable program"):
        daprd.find(print, Deadline())


def test_two_launchers_do_not_fetch_at_once(tmp_path: Path) -> None:
    """The second launcher waits for the first, reports it, and can be stopped while it waits."""
    output: list[str] = []
    stopping_deadline = Deadline()
    with programs.locked(tmp_path / "lock", "daprd", print, Deadline()):
        timer = threading.Timer(0.3, stopping_deadline.stop)
        timer.start()

        with pytest.raises(Interrupted), programs.locked(tmp_path / "lock", "daprd", output.append, stopping_deadline):
            pass

        timer.join()
    assert output == ["another launcher is fetching daprd: waiting for it"]


def test_a_marker_across_two_blocks_is_found(tmp_path: Path) -> None:
    """The search reads the program in blocks of 4 MiB and finds a marker across two of them."""
    file = tmp_path / "program"
    file.write_bytes(b"x" * ((1 << 22) - 5) + daprd.SQLITE_RESOLVER)

    assert daprd.contains(file, daprd.SQLITE_RESOLVER)
    assert not daprd.contains(file, b"nameresolution/other")
