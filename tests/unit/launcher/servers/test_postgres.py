"""PostgreSQL as a child process of the launcher."""

import subprocess
import sys
from pathlib import Path

from sidecart.launcher.servers.postgres import Postgres

PROGRAM = """
import ctypes, time
ctypes.CDLL(None).prctl(15, b"postgres", 0, 0, 0)  # PR_SET_NAME
print("named", flush=True)
time.sleep(60)
"""


def test_remaining_processes_of_a_killed_server_are_killed(tmp_path: Path) -> None:
    """`sweep` kills processes by name and working folder, and spares other programs there."""
    folder = tmp_path / "postgres" / "data"
    folder.mkdir(parents=True)
    sleep = "import time; time.sleep(60)"
    with (
        subprocess.Popen([sys.executable, "-c", PROGRAM], cwd=folder, stdout=subprocess.PIPE) as left,
        subprocess.Popen([sys.executable, "-c", sleep], cwd=folder) as other,
    ):
        assert left.stdout is not None
        left.stdout.readline()

        Postgres().sweep(tmp_path)

        ended = (left.poll() is not None, other.poll() is not None)
        other.kill()

    assert (True, False) == ended
