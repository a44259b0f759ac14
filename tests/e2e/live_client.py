"""Somebody who looks at the live page without a browser: its server-sent events, as they come."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

SECONDS = 60


@dataclass(frozen=True, slots=True)
class Notice:
    """One notice."""

    id: str
    kind: str
    body: Any


class LiveClient:
    """A connection to /live; a context manager, and leaving it is going away."""

    def __init__(self, url: str, last_id: str = "") -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=SECONDS)
        self._headers = {"last-event-id": last_id} if last_id else {}
        self._notices: list[Notice] = []
        self._news = threading.Condition()

    def __enter__(self) -> Self:
        self._connection.request("GET", "/live", headers=self._headers)
        answer = self._connection.getresponse()
        assert 200 == answer.status, answer.read()
        threading.Thread(target=self._read, args=(answer,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connection.sock is not None:
            with suppress(OSError):  # the monitor may be gone
                self._connection.sock.shutdown(socket.SHUT_RDWR)
        self._connection.close()

    @property
    def notices(self) -> list[Notice]:
        """Everything so far."""
        with self._news:
            return list(self._notices)

    @property
    def last_id(self) -> str:
        """What a browser would come back with."""
        return self.notices[-1].id

    def until(self, wanted: Callable[[list[Notice]], bool], what: str) -> list[Notice]:
        """Wait until what was told so far is as wanted, and return it."""
        end = time.monotonic() + SECONDS
        with self._news:
            while not wanted(self._notices):
                left = end - time.monotonic()
                assert left > 0, (
                    f"not told of {what} within {SECONDS} s: {[(t.kind, t.body) for t in self._notices[-3:]]}"
                )
                self._news.wait(left)
            return list(self._notices)

    def until_tap(self, state: str) -> list[Notice]:
        """Wait until the tap is in this state, by what was told last of it."""

        def is_so(notices: list[Notice]) -> bool:
            states = [each.body["tap"] if each.kind == "snapshot" else each.body for each in notices if _is_tap(each)]
            return bool(states) and states[-1]["state"] == state

        return self.until(is_so, f"a tap that is {state}")

    def _read(self, answer: http.client.HTTPResponse) -> None:
        fields: dict[str, str] = {}
        with suppress(OSError, http.client.HTTPException, ValueError, AttributeError):  # we have gone, or it has
            for raw in answer:
                name, _, value = raw.decode().rstrip("\n").partition(": ")
                if name:
                    fields[name] = value
                elif "event" in fields:
                    with self._news:
                        self._notices.append(Notice(fields["id"], fields["event"], json.loads(fields["data"])))
                        self._news.notify_all()
                    fields = {}


def _is_tap(notices: Notice) -> bool:
    return notices.kind in ("snapshot", "tap")


def steps(notices: list[Notice], subject: str) -> list[str]:
    """The names of the steps of the flow about this subject, as they were told one by one."""
    return [
        each.body["step"]["name"] for each in notices if each.kind == "step" and each.body["flow"]["subject"] == subject
    ]
