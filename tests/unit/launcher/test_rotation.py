"""Logs stay bounded, no matter what a child writes or what happens to the launcher."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from sidecart.cli import logs
from sidecart.launcher import rotation
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.processes import Processes
from sidecart.launcher.project import root
from sidecart.launcher.rotation import LOG_BYTES_MAX, Follower, Rotation, last_lines, older, rotate
from tests.unit.launcher.test_processes import is_running, start

FLOOD_BYTES = 60 * 1024 * 1024
FLOOD = f"""
import time
line = "an error that repeats " + "x" * 1000
for _ in range({FLOOD_BYTES} // len(line)):
    print(line)
print("the last of the flood", flush=True)
time.sleep(60)
"""


def becomes_true(condition: Callable[[], bool]) -> bool:
    """Wait until the condition becomes true, even on a busy machine."""
    Deadline().until(condition, 60, lambda: "it did not come true")
    return True


def size(folder: Path) -> int:
    """The total size of the logs in a folder, in bytes."""
    return sum(each.stat().st_size for each in folder.iterdir())


def test_a_flood_takes_no_more_than_two_logs(tmp_path: Path) -> None:
    """A flood leaves at most twice the limit, and the child continues in the truncated file."""
    processes = Processes(tmp_path)
    start(processes, "flood", FLOOD)

    assert becomes_true(lambda: "the last of the flood" in processes.last_lines("flood"))
    assert becomes_true(lambda: (tmp_path / "flood.log").stat().st_size <= LOG_BYTES_MAX)
    assert becomes_true(lambda: size(tmp_path) <= 2 * LOG_BYTES_MAX + 1024 * 1024)
    assert b"\0" not in (tmp_path / "flood.log").read_bytes()
    processes.stop(["flood"], 5)


def test_the_last_check_is_after_the_last_child(tmp_path: Path) -> None:
    """The output up to the end is bounded too, and no thread remains."""
    processes = Processes(tmp_path)
    start(processes, "flood", FLOOD.replace("time.sleep(60)", ""))
    assert becomes_true(lambda: processes.dead() == {"flood": 0})

    processes.stop(["flood"], 5)

    assert size(tmp_path) <= 2 * LOG_BYTES_MAX + 1024 * 1024
    assert processes._rotation._thread is None


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel tells children of their parent's death on Linux only")
def test_a_flooding_child_ends_with_a_killed_launcher(tmp_path: Path) -> None:
    """There is no pipe on which the child could block."""
    code = (
        "import sys, time; from pathlib import Path; from sidecart.launcher.processes import Processes;"
        "words = [sys.executable, '-c', 'while True: print(1)'];"
        "print(Processes(Path(sys.argv[1])).start('child', words, env={}, cwd=Path('/')), flush=True); time.sleep(60)"
    )
    launcher = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=root(), stdout=subprocess.PIPE)
    assert launcher.stdout is not None
    with launcher.stdout:
        child = int(launcher.stdout.readline())
        os.kill(launcher.pid, signal.SIGKILL)
        launcher.wait()

    assert becomes_true(lambda: not is_running(child))


def test_a_log_within_its_size_is_left_alone(tmp_path: Path) -> None:
    """Nothing is copied or truncated."""
    log = tmp_path / "app.log"
    log.write_bytes(b"x" * 100)

    assert not rotate(log, 100)
    assert [log] == list(tmp_path.iterdir())


def test_the_older_file_records_dropped_bytes(tmp_path: Path) -> None:
    """The older file begins with the number of bytes that are missing before it."""
    log = tmp_path / "app.log"
    log.write_bytes(b"".join(b"%06d\n" % number for number in range(100)))

    assert rotate(log, 70)
    head, *lines = older(log).read_text().splitlines()
    assert head.endswith(": 630")
    assert [f"{number:06}" for number in range(90, 100)] == lines
    assert b"" == log.read_bytes()


def test_a_log_is_truncated_without_room_for_a_copy(tmp_path: Path) -> None:
    """A folder blocks the copy, as a full disk would."""
    log = tmp_path / "app.log"
    log.write_bytes(b"x" * 100)
    (tmp_path / "app.log.new").mkdir()

    assert rotate(log, 10)
    assert 0 == log.stat().st_size


def test_a_follower_reads_every_line_over_rotations(tmp_path: Path) -> None:
    """The follower reads each line once and in order, whenever the log rotates."""
    log = tmp_path / "app.log"
    log.touch()
    follower, found = Follower(log), b""
    with log.open("ab", buffering=0) as writer:
        for number in range(3_000):
            writer.write(b"%06d\n" % number)
            if number % 7 == 0:
                found += follower.read()
            if number % 400 == 0:
                rotate(log, 1_000)
    found += follower.read()

    lines = [line for line in found.decode().splitlines() if not line.startswith("[sidecart]")]
    assert [f"{number:06}" for number in range(3_000)] == lines


def test_a_follower_continues_in_the_next_runs_log(tmp_path: Path) -> None:
    """A new run renames the log, and the last lines of the old one are not lost."""
    log = tmp_path / "app.log"
    log.write_bytes(b"one\n")
    follower = Follower(log, 4)
    with log.open("ab") as writer:
        writer.write(b"two\n")
    log.replace(older(log))
    log.write_bytes(b"three\n")

    assert b"two\nthree\n" == follower.read()
    assert b"" == follower.read()


def test_the_last_lines_span_a_rotation_but_not_the_previous_run(tmp_path: Path) -> None:
    """The log of a process that ends just after a rotation still shows the reason."""
    log = tmp_path / "app.log"
    log.write_bytes(b"one\ntwo\n")
    rotate(log, 4)
    log.write_bytes(b"three\n")
    assert ["two", "three"] == last_lines(log, 2)
    assert ["three"] == last_lines(log, 1)
    assert [] == last_lines(log, 0)

    older(log).write_bytes(b"of the run before\n")
    assert ["three"] == last_lines(log, 20)


def test_logs_follows_across_a_rotation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`sidecart logs -f` shows every line, including lines written just before the truncation."""
    from sidecart.cli.__main__ import main

    log = tmp_path / "order.log"
    log.write_bytes(b"before\n")
    monkeypatch.setattr(logs, "log_folder", lambda: tmp_path)
    steps: Iterator[Callable[[], object]] = iter(
        [
            partial(log.write_bytes, b"before\nbetween\n"),
            partial(rotate, log, 10),
            partial(log.write_bytes, b"after\n"),
        ]
    )

    def instead_of_sleeping(_seconds: float) -> None:
        try:
            next(steps)()
        except StopIteration:
            raise KeyboardInterrupt from None

    monkeypatch.setattr("sidecart.cli.logs.time.sleep", instead_of_sleeping)

    assert 0 == main(["logs", "order", "-f"])
    assert ["before", "between", "after"] == capsys.readouterr().out.splitlines()


def test_deleted_logs_are_ignored(tmp_path: Path) -> None:
    """`reset` may have deleted the logs."""
    watched = Rotation(look_seconds=0.01)
    watched.add(tmp_path / "gone.log")
    watched.end()

    assert rotation.last_lines(tmp_path / "gone.log", 3) == []
