"""Other users of the machine cannot read the files of a system."""

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecart.launcher import runfile
from sidecart.launcher.private_files import keep_private
from sidecart.launcher.runfile import RunFile


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    """Begin with the usual umask, and restore the test's own."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    """Return the permissions of a file."""
    return stat.S_IMODE(path.stat().st_mode)


def test_only_the_owner_may_enter_the_folder(tmp_path: Path) -> None:
    """An existing folder loses the permissions of others, too."""
    old, new = tmp_path / "old", tmp_path / "a" / "new"
    old.mkdir(mode=0o755)
    keep_private(old)
    keep_private(new)

    assert [0o700, 0o700, 0o700] == [mode(old), mode(new), mode(new.parent)]


def test_started_processes_write_for_the_owner_only(tmp_path: Path) -> None:
    """The servers keep their data and the apps their logs."""
    keep_private(tmp_path)
    subprocess.run([sys.executable, "-c", "open('data', 'w')"], cwd=tmp_path, check=True)

    assert 0o600 == mode(tmp_path / "data")


def test_the_folder_of_sidecart_run_is_private(tmp_path: Path) -> None:
    """The launcher holds the lock in its run folder."""
    folder = tmp_path / ".sidecart" / "run"
    with runfile.held(RunFile(1, "redis", "redis"), folder):
        modes = [mode(folder.parent), mode(folder), mode(folder / "lock"), mode(folder / "run.json")]

    assert [0o700, 0o700, 0o600, 0o600] == modes
