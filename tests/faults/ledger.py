"""The caller's ledger: what he wants is on disk before he asks for it, and every answer after."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FINAL = (201, 202)


@dataclass(slots=True)
class Intent:
    """One valid request, whatever it takes to have it accepted."""

    key: str
    route: str
    body: dict[str, Any]
    asked_at: float
    """Seconds of the wall clock, of the first attempt."""
    attempts: int = 0
    status: int | None = None
    """Of the last answer; None if there was none yet."""
    answered_at: float | None = None
    location: str | None = None
    answer: dict[str, Any] = field(default_factory=dict)
    given_up: bool = False
    """Whether the load ended without an answer to it; it may have had its effect all the same."""

    @property
    def accepted(self) -> bool:
        """Whether it was answered 201 or 202."""
        return self.status in FINAL

    @property
    def refused(self) -> bool:
        """Whether it was answered 4xx; 429 asks for a later attempt."""
        return self.status is not None and 400 <= self.status < 500 and self.status != 429

    @property
    def resource(self) -> str:
        """The id of what it makes; only of one that was accepted."""
        assert self.location is not None
        return self.location.rpartition("/")[2]


class Ledger:
    """All requests by Idempotency-Key; used from the thread of the load, read when that has ended."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.intents: dict[str, Intent] = {}
        self.broken: dict[str, int] = {}
        """Calls that brought no 201 or 202, by what happened."""
        self._file = path.open("a", encoding="utf-8")
        self._lock = threading.Lock()

    def intend(self, key: str, route: str, body: dict[str, Any]) -> Intent:
        """Write down what will be asked for."""
        intent = Intent(key, route, body, time.time())
        self.intents[key] = intent
        self._write("wants", key, {"route": route, "body": body})
        return intent

    def attempt(self, intent: Intent) -> None:
        """Write down that it is asked for, now."""
        intent.attempts += 1
        self._write("asks", intent.key, {"attempt": intent.attempts})

    def answered(self, intent: Intent, status: int, headers: Mapping[str, str], body: dict[str, Any]) -> None:
        """Write down an answer."""
        intent.status, intent.answered_at, intent.answer = status, time.time(), body
        intent.location = headers.get("location", intent.location)
        self._write("answered", intent.key, {"status": status, "location": intent.location, "body": body})
        if not intent.accepted:
            self._count(str(status))

    def broke(self, intent: Intent, error: BaseException) -> None:
        """Write down a call without an answer."""
        self._write("broke", intent.key, {"error": repr(error)})
        self._count(type(error).__name__)

    def close(self) -> None:
        """No more is written."""
        self._file.close()

    def _count(self, what: str) -> None:
        self.broken[what] = self.broken.get(what, 0) + 1

    def _write(self, what: str, key: str, more: Mapping[str, Any]) -> None:
        with self._lock:
            self._file.write(json.dumps({"at": time.time(), "what": what, "key": key, **more}) + "\n")
            self._file.flush()
