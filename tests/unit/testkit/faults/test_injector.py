"""A paused process does nothing: SIGSTOP has taken effect in every thread."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from sidecart.testkit.faults.injector import send

THREADS = 8
BUSY = f"""\
import threading, time
counts = [0] * {THREADS}

def count(each):
    while True:
        counts[each] += 1

for each in range({THREADS}):
    threading.Thread(target=count, args=(each,), daemon=True).start()
print("runs", flush=True)
time.sleep(60)
"""


def states(pid: int) -> set[str]:
    """Return the states of the threads of a process."""
    return {each.read_text().rpartition(")")[2].split()[0] for each in Path(f"/proc/{pid}/task").glob("*/stat")}


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="only Linux shows the threads")
def test_no_thread_of_a_paused_process_runs() -> None:
    """All have stopped when `send` returns; afterwards they run again."""
    with subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            for _ in range(20):
                send([psutil.Process(process.pid)], signal.SIGSTOP)
                assert {"T"} == states(process.pid)
                send([psutil.Process(process.pid)], signal.SIGCONT)
        finally:
            process.kill()


def test_a_process_that_has_ended_is_no_error() -> None:
    """A fault may meet a process that just ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        found = psutil.Process(process.pid)
        process.wait()

    send([found], signal.SIGSTOP)
