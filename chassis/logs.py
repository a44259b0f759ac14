"""Logs: one line for people or one JSON object for machines, each with the event and the trace that it is about.

Whoever logs, also a library, logs by the standard library; structlog writes the lines. At info and above no line holds
an e-mail address: keys of records, answers of sidecars and what mail servers say may quote one.
"""

from __future__ import annotations

import logging
import re
import sys
from types import TracebackType
from typing import Literal, get_args

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from chassis import handled

Format = Literal["human", "json"]
FORMATS: tuple[str, ...] = get_args(Format)
LEVELS = ("debug", "info", "warning", "error")

# Of a local part as the gateway takes it, plain or percent-encoded as in a path; its length keeps the search linear.
ADDRESS = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]{1,200}(?:@|%40)[\w.%-]+")
MASKED = "***"
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")  # what came from outside makes no line of its own

log = logging.getLogger(__name__)


def begin(form: str, level: str) -> None:
    """Write all lines of this process so, from this level on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(form))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.captureWarnings(True)
    sys.excepthook = _ended_by


def formatter(form: str) -> logging.Formatter:
    """What makes lines of records."""
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
            _about,
        ],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendered],
    )


def _about(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
    """Add what is being handled while the line is written."""
    about = handled.now()
    if about is not None:
        said = {"topic": about.topic, "event_id": about.event_id, "trace_id": about.trace_id}
        line.update({name: value for name, value in said.items() if value})
    return line


def _masked(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
    """Hide addresses, unless somebody looks for a fault and has asked for all there is."""
    if line.get("level") != "debug":
        for name, value in line.items():
            if isinstance(value, str) and ("@" in value or "%40" in value):
                line[name] = ADDRESS.sub(MASKED, value)
    return line


def _readable(_logger: WrappedLogger, _method: str, line: EventDict) -> str:
    """One line, what it is about last; a traceback follows on lines of its own."""
    event = CONTROL.sub(lambda found: ascii(found[0])[1:-1], str(line.pop("event")))
    head = f"{line.pop('timestamp')} {line.pop('level').upper()} {line.pop('logger')} {event}"
    trace = line.pop("exception", None)
    said = " ".join([head, *(f"{name}={value}" for name, value in line.items())])
    return said if trace is None else f"{said}\n{trace}"


def _ended_by(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """The last line of a process that ends by an error is a line like the others."""
    if issubclass(kind, Exception):
        log.critical("the process ends by an error", exc_info=(kind, error, trace))
    else:
        sys.__excepthook__(kind, error, trace)
