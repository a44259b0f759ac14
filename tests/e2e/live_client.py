"""A viewer of the live page without a browser: a client of its server-sent events."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

SECONDS = 60


@dataclass(frozen=True, slots=True)
class Notice:
    """One server-sent event."""

    id: str
    kind: str
    body: Any


@contextmanager
def admitted(url: str) -> Iterator[httpx.Client]:
    """Open the page at its address with the key; yield a client that has its cookie."""
    with httpx.Client(base_url=f"http://{urlsplit(url).netloc}", timeout=SECONDS, trust_env=False) as client:
        assert 303 == client.get(url).status_code
        yield client


def cookie_of(url: str) -> str:
    """Return the Cookie header of a browser that opened the page at its address with the key."""
    with admitted(url) as client:
        return "; ".join(f"{name}={value}" for name, value in client.cookies.items())


class LiveClient:
    """A connection to /live; a context manager that disconnects at its end."""

    def __init__(self, url: str, last_id: str = "") -> None:
        """Connect to the page whose address with its key is `url`."""
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=SECONDS)
        self._headers = {"cookie": cookie_of(url), **({"last-event-id": last_id} if last_id else {})}
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
            with suppress(OSError):  # the monitor may have ended
                self._connection.sock.shutdown(socket.SHUT_RDWR)
        self._connection.close()

    @property
    def notices(self) -> list[Notice]:
        """All notices so far."""
        with self._news:
            return list(self._notices)

    @property
    def last_id(self) -> str:
        """The id that a browser would send when it reconnects."""
        return self.notices[-1].id

    def until(self, condition: Callable[[list[Notice]], bool], what: str) -> list[Notice]:
        """Wait until a condition holds for the notices so far; return them."""
        end = time.monotonic() + SECONDS
        with self._news:
            while not condition(self._notices):
                remaining = end - time.monotonic()
                assert remaining > 0, f"no {what} within {SECONDS} s: {[(t.kind, t.body) for t in self._notices[-3:]]}"
                self._news.wait(remaining)
            return list(self._notices)

    def until_tap(self, state: str) -> list[Notice]:
        """Wait until the newest notice about the tap has this state."""

        def is_so(notices: list[Notice]) -> bool:
            states = [each.body["tap"] if each.kind == "snapshot" else each.body for each in notices if _is_tap(each)]
            return bool(states) and states[-1]["state"] == state

        return self.until(is_so, f"a tap that is {state}")

    def _read(self, answer: http.client.HTTPResponse) -> None:
        fields: dict[str, str] = {}
        # either side closed the connection
        with suppress(OSError, http.client.HTTPException, ValueError, AttributeError):
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
    """Return the names of the steps in the flow of this subject, in the order of their notices."""
    return [
        each.body["step"]["name"] for each in notices if each.kind == "step" and each.body["flow"]["subject"] == subject
    ]
