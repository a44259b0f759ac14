"""Reads the resources that requests created, through the gateway."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import httpx

from sidecart.testkit.faults.ledger import Intent

READ_SECONDS_MAX = 10.0
READERS = 8
ATTEMPTS = 5
PAUSE_SECONDS = 0.5
POLL_SECONDS = 0.5

Poll = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Answer:
    """The response to a GET; status 0 without a response."""

    status: int
    body: dict[str, Any]


class Reader:
    """Reads from one system."""

    def __init__(self, url: str, poll: Poll, auth: httpx.Auth | None = None) -> None:
        """Read at an address, with the tokens of `auth` if the gateway needs any."""
        self._url = url
        self._auth = auth
        self._poll = poll

    def read(self, paths: Iterable[str]) -> list[Answer]:
        """Read each path, and poll meanwhile, so that a stop interrupts the reads."""
        with (
            httpx.Client(base_url=self._url, timeout=READ_SECONDS_MAX, trust_env=False, auth=self._auth) as http,
            ThreadPoolExecutor(READERS) as pool,
        ):
            calls = [pool.submit(_get, http, path) for path in paths]
            try:
                while wait(calls, POLL_SECONDS).not_done:
                    self._poll()
            finally:
                pool.shutdown(cancel_futures=True)
            return [call.result() for call in calls]

    def read_all(self, intents: Iterable[Intent]) -> list[tuple[Intent, Answer]]:
        """Read the location of each request."""
        queried = list(intents)
        return list(zip(queried, self.read(str(each.location) for each in queried), strict=True))


def _get(http: httpx.Client, path: str) -> Answer:
    for _ in range(ATTEMPTS):
        try:
            answer = http.get(path)
            if answer.status_code != 503:
                return Answer(answer.status_code, answer.json())
        except (httpx.HTTPError, ValueError):
            pass
        time.sleep(PAUSE_SECONDS)
    return Answer(0, {})
