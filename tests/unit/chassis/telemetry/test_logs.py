"""Log lines: text or JSON, with their context, and without email addresses."""

import io
import json
import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from sidecart.chassis.telemetry import logs, request_context
from sidecart.launcher.project import root

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE_ID}-b7ad6b7169203331-01"


class Lines:
    """A logger with one format, and its output."""

    def __init__(self, form: str, level: int = logging.INFO) -> None:
        self._out = io.StringIO()
        handler = logging.StreamHandler(self._out)
        handler.setFormatter(logs.formatter(form))
        self.log = logging.Logger("lamps", level)
        self.log.addHandler(handler)

    @property
    def text(self) -> str:
        """Return the whole output."""
        return self._out.getvalue()

    @property
    def only(self) -> dict[str, Any]:
        """Return the only line, parsed as JSON."""
        [line] = self.text.splitlines()
        return dict(json.loads(line))


@pytest.fixture(autouse=True)
def no_context() -> Iterator[None]:
    """Run the test without a current request context."""
    token = request_context._current.set(None)
    yield
    request_context._current.reset(token)


def test_a_json_line_is_one_object() -> None:
    """A JSON line has time, level, logger and message."""
    lines = Lines("json")
    lines.log.warning("%s of %d\nlamps", "one", 3)

    output = lines.only
    assert output.pop("timestamp").endswith("Z")
    assert {"level": "warning", "logger": "lamps", "event": "one of 3\nlamps"} == output


def test_a_text_record_is_one_line() -> None:
    """Control characters in a quoted input are escaped, so that it cannot start a new line."""
    lines = Lines("human")
    lines.log.error("no lamp %s", "x\n2026-01-01 CRITICAL forged line")

    assert 1 == lines.text.count("\n")
    assert "ERROR lamps no lamp x\\n2026" in lines.text


@pytest.mark.parametrize("form", logs.FORMATS)
def test_a_line_names_its_event_and_trace(form: str) -> None:
    """A line names the event and the trace of the current context, in both formats."""
    request_context.start_event("Lamp", f'{{"id": "e-1", "traceparent": "{TRACEPARENT}"}}'.encode())
    lines = Lines(form)
    lines.log.info("on")

    if form == "json":
        assert {"topic": "Lamp", "event_id": "e-1", "trace_id": TRACE_ID}.items() <= lines.only.items()
    else:
        assert lines.text.endswith(f" on topic=Lamp event_id=e-1 trace_id={TRACE_ID}\n")


def test_empty_context_fields_are_omitted() -> None:
    """A line has no fields for an empty topic, id or trace."""
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
    """Addresses in messages and tracebacks are masked; the text around them stays."""
    lines = Lines(form)
    for write in (lines.log.info, lines.log.error):
        write("response: %s", quoted)
    try:
        raise ValueError(quoted)
    except ValueError:
        lines.log.exception("a bug")

    assert "neil" not in lines.text
    assert "example" not in lines.text
    assert 3 == lines.text.count(logs.MASKED)
    assert "Traceback" in lines.text


def test_debug_lines_are_masked_too() -> None:
    """The level for finding a bug shows no address."""
    lines = Lines("json", logging.DEBUG)
    lines.log.debug("to ann@example.com")

    assert f"to {logs.MASKED}" == lines.only["event"]


def test_masking_a_long_line_is_fast() -> None:
    """Masking takes linear time in the length of a line."""
    started = time.process_time()
    lines = Lines("json")
    lines.log.error("%s ann@example.com", "x" * 200_000)

    assert "ann@" not in lines.text
    assert time.process_time() - started < 5


PROGRAM = """
import logging, sys, warnings
from sidecart.chassis.telemetry import logs
logs.configure("json", "warning")
logging.getLogger("uvicorn.error").error("a library")
logging.getLogger("ours").info("below the level")
warnings.warn("old", DeprecationWarning, stacklevel=1)
raise KeyError("the end")
"""


def test_all_output_of_a_process_is_log_lines() -> None:
    """Libraries, warnings and the final exception are logged in the configured format."""
    command = [sys.executable, "-W", "always", "-c", PROGRAM]
    done = subprocess.run(command, cwd=root(), capture_output=True, text=True, check=False)
    lines = [json.loads(line) for line in done.stderr.splitlines()]

    assert 1 == done.returncode
    assert ["uvicorn.error", "py.warnings", "sidecart.chassis.telemetry.logs"] == [line["logger"] for line in lines]
    assert "KeyError: 'the end'" in lines[-1]["exception"]
