"""Child processes are logged, grouped, stopped, and end with their launcher."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from sidecart.launcher.deadline import Deadline
from sidecart.launcher.environment import plain_environment
from sidecart.launcher.errors import Interrupted, LaunchError
from sidecart.launcher.processes import Processes
from sidecart.launcher.project import root


def is_running(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except FileNotFoundError:
        return False


def becomes_true(condition: Callable[[], bool]) -> bool:
    """Whether the condition becomes true within ten seconds."""
    end = time.monotonic() + 10
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


def is_over(processes: Processes, name: str) -> bool:
    """Whether a child has ended."""
    return not processes.is_alive(name)


def start(processes: Processes, name: str, code: str) -> int:
    """Start a child that runs Python code."""
    return processes.start(name, [sys.executable, "-c", code], env=plain_environment(), cwd=root())


def test_a_childs_output_is_in_its_log(tmp_path: Path) -> None:
    """stdout and stderr of a child go to one file under its name."""
    processes = Processes(tmp_path)

    start(processes, "talker", "import sys; print('out'); print('err', file=sys.stderr)")

    assert becomes_true(lambda: processes.dead() == {"talker": 0})
    assert {"out", "err"} == set(processes.last_lines("talker"))
    processes.stop(["talker"], 1)


def test_a_child_that_ignores_the_signal_is_killed(tmp_path: Path) -> None:
    """`stop` returns after the child has ended, and names the killed children."""
    processes = Processes(tmp_path)
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    pid = start(processes, "deaf", code)
    assert becomes_true(lambda: processes.last_lines("deaf") == ["up"])

    assert processes.stop(["deaf"], 0.2) == ["deaf"]
    assert not is_running(pid)
    assert processes.pids() == {}


def test_grandchildren_end_with_the_child(tmp_path: Path) -> None:
    """A grandchild is in the child's group and is killed with it."""
    processes = Processes(tmp_path)
    code = "import subprocess, time; print(subprocess.Popen(['sleep', '60']).pid, flush=True); time.sleep(60)"
    start(processes, "parent", code)
    assert becomes_true(lambda: bool(processes.last_lines("parent")))
    grandchild = int(processes.last_lines("parent")[0])

    processes.stop(["parent"], 5)

    assert becomes_true(lambda: not is_running(grandchild))


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel tells children of their parent's death on Linux only")
def test_children_die_with_a_killed_launcher(tmp_path: Path) -> None:
    """No child survives a SIGKILL of the launcher."""
    code = (
        "import sys, time; from pathlib import Path; from sidecart.launcher.processes import Processes;"
        "pid = Processes(Path(sys.argv[1])).start('child', ['sleep', '60'], env={}, cwd=Path('/'));"
        "print(pid, flush=True); time.sleep(60)"
    )
    launcher = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=root(), stdout=subprocess.PIPE)
    assert launcher.stdout is not None
    with launcher.stdout:
        child = int(launcher.stdout.readline())
        assert is_running(child)

        os.kill(launcher.pid, signal.SIGKILL)
        launcher.wait()

    assert becomes_true(lambda: not is_running(child))


def test_a_missing_program_is_reported_in_one_line(tmp_path: Path) -> None:
    """The error has the child's name and the reason, without a traceback."""
    with pytest.raises(LaunchError, match="ghost cannot be started"):
        Processes(tmp_path).start("ghost", ["/nowhere/ghost"], env={}, cwd=tmp_path)


def test_only_the_previous_runs_log_is_kept(tmp_path: Path) -> None:
    """A new run starts a new log; a restart within a run continues it."""
    for line in ("first", "second"):
        processes = Processes(tmp_path)
        for _ in range(2):
            start(processes, "app", f"print({line!r})")
            assert becomes_true(partial(is_over, processes, "app"))
            processes.stop(["app"], 1)

    assert (tmp_path / "app.log").read_text() == "second\nsecond\n"
    assert (tmp_path / "app.log.1").read_text() == "first\nfirst\n"


def test_a_stop_request_ends_the_wait() -> None:
    """A signal handler's `stop` interrupts the wait."""
    deadline = Deadline()
    deadline.stop()

    with pytest.raises(Interrupted):
        deadline.until(lambda: False, 60, lambda: "never")


def test_waiting_has_a_limit() -> None:
    """A timeout is reported in one line."""
    with pytest.raises(LaunchError, match="the broker is late"):
        Deadline().until(lambda: False, 0.1, lambda: "the broker is late")
