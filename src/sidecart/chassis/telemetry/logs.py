"""Logs: one text line or one JSON object per record, with the event and the trace it belongs to.

All code, including libraries, logs through the standard library; structlog renders the records. No
line contains a mail address, although record keys, sidecar responses and mail server replies may
quote one.
"""

from __future__ import annotations

import contextvars
import logging
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, TextIO, get_args

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from sidecart.chassis.telemetry import request_context
from sidecart.chassis.telemetry.repeats import Repeats

Format = Literal["human", "json"]
FORMATS: tuple[str, ...] = get_args(Format)
LEVELS = ("debug", "info", "warning", "error")

# A mail address whose local part the gateway accepts, plain or percent-encoded as in a path. The
# bound on its length keeps the search linear.
ADDRESS = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]{1,200}(?:@|%40)[\w.%-]+")
MASKED = "***"
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")  # input must not start a new line

LINE_CHARACTERS = 300
"""The leading part of a message that identifies its kind, and that the count quotes."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Line:
    """The kind of a line: one message from one place in the code."""

    logger: str
    level: int
    number: int
    beginning: str
    characters: int


class CollapsingHandler(logging.StreamHandler[TextIO]):
    """Writes the first lines of each kind, then one line that counts the rest.

    A timer writes the count when the window ends, even if no further line follows. The timer runs
    only while there are suppressed lines.
    """

    def __init__(
        self,
        stream: TextIO,
        repeats: Repeats[Line] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(stream)
        self._repeats = repeats or Repeats()
        self._clock = clock
        self._timer: threading.Timer | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write or count the record; the caller holds the handler's lock."""
        try:
            fields = record.getMessage()
        except (TypeError, ValueError, KeyError):
            super().emit(record)  # reports the log call whose arguments do not match its format
            return
        now = self._clock()
        self._report(now)
        kind = Line(record.name, record.levelno, record.lineno, fields[:LINE_CHARACTERS], len(fields))
        if self._repeats.is_shown(kind, now):
            super().emit(record)
        elif self._timer is None:
            self._timer = threading.Timer(self._repeats.seconds, self._window_over)
            self._timer.daemon = True
            self._timer.start()

    def close(self) -> None:
        """Write the pending counts; the logging module calls this when the process exits."""
        with self._locked():
            if self._timer is not None:
                self._timer.cancel()
            self._report(float("inf"))
        super().close()

    def _window_over(self) -> None:
        with self._locked():
            self._timer = None
            self._report(self._clock())

    def _report(self, now: float) -> None:
        for kind, times in self._repeats.over(now):
            text = f"{kind.beginning} (repeated {times:,} more times within {self._repeats.seconds:.0f} s)"
            record = logging.LogRecord(kind.logger, kind.level, __file__, kind.number, text, None, None)
            # The count covers many events, so it runs in an empty context and names none.
            contextvars.Context().run(super().emit, record)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.acquire()
        try:
            yield
        finally:
            self.release()


def configure(form: str, level: str) -> None:
    """Set the format and the lowest level of all log lines of this process."""
    handler = CollapsingHandler(sys.stderr)
    handler.setFormatter(formatter(form))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught


def formatter(form: str) -> logging.Formatter:
    """Return a formatter that renders records as text lines or as JSON."""
    rendered: list[Processor] = (
        [structlog.processors.format_exc_info, _masked, structlog.processors.JSONRenderer(ensure_ascii=False)]
        if form == "json"
        else [structlog.processors.format_exc_info, _masked, _readable]
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _add_context,
        ],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendered],
    )


def _add_context(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
    """Add the topic, the event id and the trace id of the current context."""
    context = request_context.current()
    if context is not None:
        fields = {"topic": context.topic, "event_id": context.event_id, "trace_id": context.trace_id}
        line.update({name: value for name, value in fields.items() if value})
    return line


def _masked(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
    """Mask mail addresses, at every level."""
    for name, value in line.items():
        if isinstance(value, str) and ("@" in value or "%40" in value):
            line[name] = ADDRESS.sub(MASKED, value)
    return line


def _readable(_logger: WrappedLogger, _method: str, line: EventDict) -> str:
    """Render one text line with its fields at the end; a traceback follows on its own lines."""
    event = CONTROL.sub(lambda found: ascii(found[0])[1:-1], str(line.pop("event")))
    head = f"{line.pop('timestamp')} {line.pop('level').upper()} {line.pop('logger')} {event}"
    trace = line.pop("exception", None)
    fields = " ".join([head, *(f"{name}={value}" for name, value in line.items())])
    return fields if trace is None else f"{fields}\n{trace}"


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Log the exception that ends the process, as one more log record."""
    if issubclass(kind, Exception):
        log.critical("unhandled exception; the process exits", exc_info=(kind, error, trace))
    else:
        sys.__excepthook__(kind, error, trace)
