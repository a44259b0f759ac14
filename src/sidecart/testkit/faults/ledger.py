"""The callers' ledger: every request is on disk before it is sent, and every response after it
arrives.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FINAL = (200, 201, 202)
"""The statuses of an accepted request: 200 answers a DELETE."""


@dataclass(slots=True)
class Intent:
    """One valid request, with all of its attempts."""

    key: str
    route: str
    """The path of a POST, or a method with a path: `DELETE /lamp/1`."""
    body: dict[str, Any]
    asked_at: float
    """The time of the first attempt, in seconds of the wall clock."""
    attempts: int = 0
    status: int | None = None
    """The status of the last response; None without a response."""
    answered_at: float | None = None
    location: str | None = None
    answer: dict[str, Any] = field(default_factory=dict)
    given_up: bool = False
    """Whether the load ended without a response; the request may have had its effect all the same.
    """

    @property
    def accepted(self) -> bool:
        """Return whether the request was answered 200, 201 or 202."""
        return self.status in FINAL

    @property
    def refused(self) -> bool:
        """Return whether the request was answered 4xx; 429 asks for a later attempt."""
        return self.status is not None and 400 <= self.status < 500 and self.status != 429

    @property
    def resource(self) -> str:
        """Return the id of the created resource; only for an accepted request."""
        assert self.location is not None
        return self.location.rpartition("/")[2]


class Ledger:
    """All requests by Idempotency-Key; the load's thread writes, and others read after the load has
    ended.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.intents: dict[str, Intent] = {}
        self.broken: dict[str, int] = {}
        """Calls that were not accepted, counted by status or error."""
        self._file = path.open("a", encoding="utf-8")
        self._lock = threading.Lock()

    def intend(self, key: str, route: str, body: dict[str, Any]) -> Intent:
        """Record a request that will be sent."""
        intent = Intent(key, route, body, time.time())
        self.intents[key] = intent
        self._write("intent", key, {"route": route, "body": body})
        return intent

    def attempt(self, intent: Intent) -> None:
        """Record that the request is being sent now."""
        intent.attempts += 1
        self._write("attempt", intent.key, {"attempt": intent.attempts})

    def answered(self, intent: Intent, status: int, headers: Mapping[str, str], body: dict[str, Any]) -> None:
        """Record a response."""
        intent.status, intent.answered_at, intent.answer = status, time.time(), body
        intent.location = headers.get("location", intent.location)
        self._write("answered", intent.key, {"status": status, "location": intent.location, "body": body})
        if not intent.accepted:
            self._count(str(status))

    def failed(self, intent: Intent, error: BaseException) -> None:
        """Record a call without a response."""
        self._write("failed", intent.key, {"error": repr(error)})
        self._count(type(error).__name__)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _count(self, what: str) -> None:
        self.broken[what] = self.broken.get(what, 0) + 1

    def _write(self, what: str, key: str, more: Mapping[str, Any]) -> None:
        with self._lock:
            self._file.write(json.dumps({"at": time.time(), "what": what, "key": key, **more}) + "\n")
            self._file.flush()
