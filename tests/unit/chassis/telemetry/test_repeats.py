"""Repeated lines: the first ones are written, the rest are counted, and each count is written."""

import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from sidecart.chassis.telemetry.repeats import FIRST, KINDS_MAX, WINDOW_SECONDS, Repeats
from sidecart.cli.run import REPORT_SECONDS, REPORTED_FIRST, ReportThrottle
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.project import root


def soon(condition: Callable[[], bool]) -> bool:
    """Wait up to 60 s, for a busy machine, until the condition is true."""
    Deadline().until(condition, 60, lambda: "the condition never became true")
    return True


def test_the_first_lines_of_a_kind_are_shown_and_the_others_counted() -> None:
    """The count of suppressed lines is reported once, when the window ends."""
    repeats: Repeats[str] = Repeats(first=2, seconds=10)

    assert [True, True, False, False] == [repeats.is_shown("a", 0) for _ in range(4)]
    assert [] == repeats.over(9.9)
    assert [("a", 2)] == repeats.over(10)
    assert [] == repeats.over(10)
    assert repeats.is_shown("a", 11)


def test_another_kind_is_never_hidden() -> None:
    """Many lines of one kind suppress no line of another kind."""
    repeats: Repeats[str] = Repeats(first=1)
    for _ in range(100):
        repeats.is_shown("flood", 0)

    assert repeats.is_shown("news", 0)


def test_memory_is_bounded_and_no_count_is_lost() -> None:
    """The oldest kind is dropped first, and its count is reported."""
    repeats: Repeats[int] = Repeats(first=1)
    for kind in range(10 * KINDS_MAX):
        repeats.is_shown(kind, 0)
        repeats.is_shown(kind, 0)

    assert KINDS_MAX == len(repeats._windows)
    assert 10 * KINDS_MAX == len(repeats.over(WINDOW_SECONDS))


PROGRAM = """
import logging, sys, time
from sidecart.chassis.telemetry import logs
logs.configure("human", "info")
log = logging.getLogger("lamps")
for _ in range(1_000):
    log.error("no lamp at %s", "the door")
log.error("no lamp at all")
if "wait" in sys.argv:
    time.sleep(120)
"""


def test_repeated_lines_are_a_few_lines_and_a_count() -> None:
    """A process writes its pending counts when it exits, and other lines are not suppressed."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=root(), capture_output=True, text=True, check=True)

    *first, other, count = [line.split(" ", 1)[1] for line in done.stderr.splitlines()]
    assert ["ERROR lamps no lamp at the door"] * FIRST == first
    assert "ERROR lamps no lamp at all" == other
    assert f"ERROR lamps no lamp at the door (repeated {1_000 - FIRST} more times within 10 s)" == count


def test_a_timer_writes_the_count(tmp_path: Path) -> None:
    """The count is written when the window ends, without a further line."""
    log = tmp_path / "log"
    with log.open("wb") as output:
        running = subprocess.Popen([sys.executable, "-c", PROGRAM, "wait"], cwd=root(), stderr=output)
    try:
        assert soon(lambda: "no lamp at all" in log.read_text())
        assert "repeated" not in log.read_text()
        assert soon(lambda: "repeated 990 more times" in log.read_text())
    finally:
        running.kill()
        running.wait()


def test_a_log_call_with_wrong_arguments_is_reported() -> None:
    """A log call whose arguments do not match its format is reported as in the standard library."""
    program = (
        "import logging; from sidecart.chassis.telemetry import logs\n"
        "logs.configure('human', 'info'); logging.error('%d', 'x')"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=root(), capture_output=True, text=True, check=True)

    assert "--- Logging error ---" in done.stderr


def test_the_launcher_counts_repeated_reports() -> None:
    """Repeated reports of a crashing process are counted and summarized."""
    reports: list[str] = []
    now = 0.0
    throttle = ReportThrottle(reports.append, lambda: now)
    for _ in range(20):
        throttle("order ended")
    assert ["order ended"] * REPORTED_FIRST == reports

    now = REPORT_SECONDS
    throttle.look()

    assert f"order ended ({20 - REPORTED_FIRST} more times within 10 min)" == reports[-1]
    assert logging.getLogger("lamps").handlers == []
