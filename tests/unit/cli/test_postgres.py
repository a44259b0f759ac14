"""PostgreSQL as a child of the launcher: what is not said by starting it."""

import subprocess
import sys
from pathlib import Path

from cli.servers import postgres

PROGRAM = """
import ctypes, time
ctypes.CDLL(None).prctl(15, b"postgres", 0, 0, 0)  # PR_SET_NAME
print("named", flush=True)
time.sleep(60)
"""


def test_what_a_killed_server_left_is_ended(tmp_path: Path) -> None:
    """By the folder that its processes run in, and their name; another program there is left alone."""
    folder = tmp_path / "postgres" / "data"
    folder.mkdir(parents=True)
    sleep = "import time; time.sleep(60)"
    with (
        subprocess.Popen([sys.executable, "-c", PROGRAM], cwd=folder, stdout=subprocess.PIPE) as left,
        subprocess.Popen([sys.executable, "-c", sleep], cwd=folder) as other,
    ):
        assert left.stdout is not None
        left.stdout.readline()

        postgres.sweep(tmp_path)

        ended = (left.poll() is not None, other.poll() is not None)
        other.kill()

    assert (True, False) == ended
