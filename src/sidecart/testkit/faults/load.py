"""The load: valid requests at a constant rate, each repeated with its Idempotency-Key until it is
accepted.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import aiohttp

from sidecart.testkit.acting import Acting
from sidecart.testkit.faults.ledger import Intent, Ledger

ATTEMPT_SECONDS_MAX = 12.0  # longer than the gateway holds a request
GIVE_UP_SECONDS = 180.0  # counted from the first attempt of a request
SETTLE_SECONDS = 60.0  # time for each given-up request to settle once the project serves again
PAUSES_SECONDS = (0.2, 0.5, 1.0, 2.0)
CONNECTIONS_MAX = 500
SETTLERS = 16


@dataclass(frozen=True, slots=True)
class Plan:
    """Number and rate of the requests; the same seed gives the same requests."""

    seed: int
    requests: int
    per_second: float
    wait: str | None = None
    """The value of the `Prefer` header, or None."""
    clients: int | None = None
    """If set: this many callers send one request at a time for `seconds`, instead of `requests`;
    together at most `per_second`, if that is not 0.
    """
    seconds: float = 0.0


class Requests(Protocol):
    """The requests of a project. All chance comes from the given generator."""

    def next(self, number: int, chance: random.Random) -> tuple[str, dict[str, Any]]:
        """Return the route and the body of the next request."""

    def accepted(self, intent: Intent) -> None:
        """Note an accepted request; later requests may refer to its resource."""


class Load:
    """Sends the load in its own thread."""

    def __init__(
        self,
        url: str,
        plan: Plan,
        requests: Requests,
        ledger: Ledger,
        acting: Acting,
        keep_going: Callable[[], bool] = lambda: False,
    ) -> None:
        self._url = url
        self._plan = plan
        self._requests = requests
        self._ledger = ledger
        self._acting = acting
        self._keep_going = keep_going
        self._random = random.Random(f"load {plan.seed}")
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)
        self.error: BaseException | None = None
        self.sent = 0

    def start(self) -> None:
        """Start sending."""
        self._thread.start()

    @property
    def running(self) -> bool:
        """Return whether requests are still being sent or repeated."""
        return self._thread.is_alive()

    def join(self, poll: Callable[[], None]) -> None:
        """Wait until the load has ended, polling meanwhile; raise the thread's error, if any."""
        while self.running:
            poll()
            self._thread.join(0.1)
        if self.error is not None:
            raise self.error

    def _run(self) -> None:
        try:
            asyncio.run(self._send_all())
        except BaseException as error:
            self.error = error

    async def _send_all(self) -> None:
        connector = aiohttp.TCPConnector(limit=CONNECTIONS_MAX)
        async with (
            aiohttp.ClientSession(self._url, connector=connector) as http,
            asyncio.TaskGroup() as tasks,
        ):
            if self._plan.clients is not None:
                end = time.monotonic() + self._plan.seconds
                for _ in range(self._plan.clients):
                    tasks.create_task(self._run_caller(http, end))
                return
            started = time.monotonic()
            for number in range(self._plan.requests):
                await asyncio.sleep(max(0.0, started + number / self._plan.per_second - time.monotonic()))
                route, body = self._requests.next(number, self._random)
                tasks.create_task(self._submit(http, route, body))
                self.sent += 1

    def settle(self) -> None:
        """Repeat given-up requests with their Idempotency-Keys, so that the audit knows their
        effect.

        A request without a response is neither accepted nor refused: it may have its effect all the
        same.
        """
        given_up = [each for each in self._ledger.intents.values() if each.given_up]
        if given_up:
            asyncio.run(self._settle(given_up))

    async def _settle(self, given_up: Sequence[Intent]) -> None:
        async with (
            aiohttp.ClientSession(self._url, connector=aiohttp.TCPConnector(limit=SETTLERS)) as http,
            asyncio.TaskGroup() as tasks,
        ):
            for each in given_up:
                tasks.create_task(self._repeat(http, each, SETTLE_SECONDS))

    async def _run_caller(self, http: aiohttp.ClientSession, end: float) -> None:
        """Run one caller: send a request, repeat it until it is accepted, then send the next.

        The caller continues while faults are pending, because these may come later than planned.
        """
        rate = self._plan.per_second / (self._plan.clients or 1)
        while time.monotonic() < end or self._keep_going():
            due = time.monotonic() + (1 / rate if rate else 0.0)
            route, body = self._requests.next(self.sent, self._random)
            self.sent += 1
            await self._submit(http, route, body)
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _submit(self, http: aiohttp.ClientSession, route: str, body: dict[str, Any]) -> None:
        key = f"{self._random.getrandbits(128):032x}"
        intent = self._ledger.intend(key, route, body)
        await self._repeat(http, intent, GIVE_UP_SECONDS)
        intent.given_up = not intent.accepted and not intent.refused
        if intent.accepted:
            self._requests.accepted(intent)

    async def _repeat(self, http: aiohttp.ClientSession, intent: Intent, seconds: float) -> None:
        """Repeat a request until it is accepted or refused; the auditor reports refusals."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            await self._attempt(http, intent)
            if intent.accepted or intent.refused:
                return
            pause = PAUSES_SECONDS[min(intent.attempts, len(PAUSES_SECONDS)) - 1]
            await asyncio.sleep(pause)

    async def _attempt(self, http: aiohttp.ClientSession, intent: Intent) -> None:
        headers = {"idempotency-key": intent.key, **self._acting.headers(intent.route, intent.body)}
        if self._plan.wait is not None:
            headers["prefer"] = self._plan.wait
        self._ledger.attempt(intent)
        method, _, path = intent.route.rpartition(" ")
        try:
            async with (
                asyncio.timeout(ATTEMPT_SECONDS_MAX),
                http.request(method or "POST", path, json=intent.body, headers=headers) as answer,
            ):
                self._ledger.answered(intent, answer.status, answer.headers, await answer.json(content_type=None))
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            intent.status = None
            self._ledger.failed(intent, error)
