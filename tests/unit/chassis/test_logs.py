"""Lines: for people or for machines, ours and those of libraries, with what they are about and without addresses."""

import io
import json
import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from chassis import logs, request_context
from cli.project import ROOT

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE_ID}-b7ad6b7169203331-01"


class Lines:
    """A logger in one of the forms, and what it wrote."""

    def __init__(self, form: str, level: int = logging.INFO) -> None:
        self._out = io.StringIO()
        handler = logging.StreamHandler(self._out)
        handler.setFormatter(logs.formatter(form))
        self.log = logging.Logger("lamps", level)
        self.log.addHandler(handler)

    @property
    def text(self) -> str:
        """All of it."""
        return self._out.getvalue()

    @property
    def only(self) -> dict[str, Any]:
        """The one line, as a machine reads it."""
        [line] = self.text.splitlines()
        return dict(json.loads(line))


@pytest.fixture(autouse=True)
def nothing_handled() -> Iterator[None]:
    """A test is about nothing unless it says so."""
    token = request_context._current.set(None)
    yield
    request_context._current.reset(token)


def test_a_line_for_machines_is_one_json_object() -> None:
    """With time, level, logger and what was said."""
    lines = Lines("json")
    lines.log.warning("%s of %d\nlamps", "one", 3)

    output = lines.only
    assert output.pop("timestamp").endswith("Z")
    assert {"level": "warning", "logger": "lamps", "event": "one of 3\nlamps"} == output


def test_a_line_for_people_is_one_line() -> None:
    """Whatever came from outside and is quoted in it."""
    lines = Lines("human")
    lines.log.error("no lamp %s", "x\n2026-01-01 CRITICAL all is lost")

    assert 1 == lines.text.count("\n")
    assert "ERROR lamps no lamp x\\n2026" in lines.text


@pytest.mark.parametrize("form", logs.FORMATS)
def test_a_line_says_which_event_and_trace_it_is_about(form: str) -> None:
    """Also one that a library writes meanwhile."""
    request_context.start_event("Lamp", f'{{"id": "e-1", "traceparent": "{TRACEPARENT}"}}'.encode())
    lines = Lines(form)
    lines.log.info("on")

    if form == "json":
        assert {"topic": "Lamp", "event_id": "e-1", "trace_id": TRACE_ID}.items() <= lines.only.items()
    else:
        assert lines.text.endswith(f" on topic=Lamp event_id=e-1 trace_id={TRACE_ID}\n")


def test_nothing_is_said_of_what_there_is_not() -> None:
    """No empty names."""
    request_context.start_event("", b"{}")
    lines = Lines("json")
    lines.log.info("on")

    assert {"timestamp", "level", "logger", "event"} == set(lines.only)


@pytest.mark.parametrize(
    "quoted",
    [
        "load of email:ann.o'neil+x@example.com: 500",
        "GET /v1.0/state/statestore/email%3Aann.o%27neil%2Bx%40example.com: TimeoutError",
        "550 <ann.o'neil+x@example.com>: no such user",
        '{"to":"ann.o\'neil+x@xn--bcher-kva.example"}',
    ],
)
@pytest.mark.parametrize("form", logs.FORMATS)
def test_no_line_at_info_or_above_holds_an_address(form: str, quoted: str) -> None:
    """Nor does a traceback; what stands around the address stays."""
    lines = Lines(form)
    for write in (lines.log.info, lines.log.error):
        write("said: %s", quoted)
    try:
        raise ValueError(quoted)
    except ValueError:
        lines.log.exception("a bug")

    assert "neil" not in lines.text
    assert "example" not in lines.text
    assert 3 == lines.text.count(logs.MASKED)
    assert "Traceback" in lines.text


def test_whoever_asks_for_all_gets_all() -> None:
    """At debug level nothing is hidden."""
    lines = Lines("json", logging.DEBUG)
    lines.log.debug("to ann@example.com")

    assert "to ann@example.com" == lines.only["event"]


def test_a_long_line_is_searched_in_time() -> None:
    """A long run without an address beside one that has one: no search that grows with the square."""
    started = time.process_time()
    lines = Lines("json")
    lines.log.error("%s ann@example.com", "x" * 200_000)

    assert "ann@" not in lines.text
    assert time.process_time() - started < 5


PROGRAM = """
import logging, sys, warnings
from chassis import logs
logs.configure("json", "warning")
logging.getLogger("uvicorn.error").error("a library")
logging.getLogger("ours").info("not wanted")
warnings.warn("old", DeprecationWarning, stacklevel=1)
raise KeyError("the end")
"""


def test_all_that_a_process_writes_is_such_lines() -> None:
    """Libraries, warnings and the error that ends it, from the level on that is asked for."""
    words = [sys.executable, "-W", "always", "-c", PROGRAM]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    lines = [json.loads(line) for line in done.stderr.splitlines()]

    assert 1 == done.returncode
    assert ["uvicorn.error", "py.warnings", "chassis.logs"] == [line["logger"] for line in lines]
    assert "KeyError: 'the end'" in lines[-1]["exception"]
