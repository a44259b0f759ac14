"""The load generator's client of one system: registered users that order in turns."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector, TraceConfig, TraceRequestChunkSentParams

from bench.bodies import ITEM, Item
from bench.systems import Contender
from shop.acting import acting
from sidecart.launcher.rotation import older

AT_ONCE = 64
DEPOSIT_CENTS = 10**9
MAILS_SECONDS_MAX = 300.0
LOOK_SECONDS = 0.005
CALL_SECONDS_MAX = 60.0


class Mails:
    """The number of mails that the mail server accepted, read from the last line of its log."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._newest = 0

    def taken(self) -> int:
        """Return the number of the newest mail."""
        for log in (self._log, older(self._log)):  # the log may have been rotated a moment ago
            if log.exists() and (numbers := _numbers(log)):
                self._newest = max(self._newest, int(numbers[-1]))
                break
        return self._newest

    async def wait_for(self, number: int) -> None:
        """Return when the mail server has accepted this many mails."""
        async with asyncio.timeout(MAILS_SECONDS_MAX):
            while self.taken() < number:  # noqa: ASYNC110 - a log file has no event to wait for
                await asyncio.sleep(LOOK_SECONDS)


def _numbers(log: Path) -> list[bytes]:
    with log.open("rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - 4096))
        return re.findall(rb"^mail (\d+): .*\n", file.read(), re.MULTILINE)


async def _was_sent(_session: ClientSession, context: Any, _chunk: TraceRequestChunkSentParams) -> None:
    if context.trace_request_ctx is not None:
        context.trace_request_ctx()


class Shopper:
    """A client of one system; an async context manager."""

    def __init__(self, system: Contender) -> None:
        self.system = system
        self.items: Sequence[Item] = [ITEM]
        """The items of each order."""
        self.orders = 0
        self.statuses: Counter[int] = Counter()
        self._users: list[str] = []
        self._mails = Mails(system.mail_log)
        self._registered = 0
        self._acting = acting(system.issuer_folder)

    async def __aenter__(self) -> Self:
        connector, timeout = TCPConnector(limit=0), ClientTimeout(total=CALL_SECONDS_MAX)
        trace = TraceConfig()
        trace.on_request_chunk_sent.append(_was_sent)
        self._shop = ClientSession(self.system.url, connector=connector, timeout=timeout, trace_configs=[trace])
        self._floor = ClientSession(self.system.floor_url, connector=TCPConnector(limit=0), timeout=timeout)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._shop.close()
        await self._floor.close()

    async def register(self, users: int) -> None:
        """Register this many users, each with a deposit."""
        numbers = iter(range(users))

        async def register() -> None:
            for _ in numbers:
                user = await self._post("/user/register", self.registration_body())
                await self._post("/account/deposit", {"user_id": user, "amount_cents": DEPOSIT_CENTS})
                self._users.append(user)

        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(register())

    async def order_as_one_user(self) -> None:
        """Register one more user, and order as this user only from now on."""
        await self.register(1)
        self._users = self._users[-1:]

    def registration_body(self) -> dict[str, str]:
        """Return the body of a registration with a new address."""
        self._registered += 1
        return {"email": f"u{self._registered}.{time.time_ns()}@example.com", "name": f"User {self._registered}"}

    async def _post(self, path: str, body: Mapping[str, object]) -> str:
        async with self._shop.post(path, json=body, headers=self._headers(path, body, 30)) as answer:
            answer.raise_for_status()
            return str((await answer.json())["user_id"])

    def _headers(self, path: str, body: Mapping[str, object], wait_seconds: int) -> dict[str, str]:
        """Return the headers of a request, with the token of the user in its body."""
        return {"prefer": f"wait={wait_seconds}", **self._acting.headers(path, body)}

    async def floor(self) -> int:
        """Send one request to the floor; return the status."""
        async with self._floor.post("/ask") as answer:
            await answer.read()
            return answer.status

    async def order(self) -> int:
        """Place an order as the next user; return the status of the response, 0 if none came."""
        status = await self.parked_order(30, None)
        self.statuses[status] += 1
        return status

    async def register_one(self) -> int:
        """Register a new user; return the status."""
        return await self._post_status("/user/register", self.registration_body(), 30)

    async def parked_order(self, wait_seconds: int, sent: Callable[[], None] | None) -> int:
        """Place an order that is held for this long, and call `sent` when the request is written.

        It does not count in `statuses`.
        """
        self.orders += 1
        body = {"user_id": self._users[self.orders % len(self._users)], "items": self.items}
        return await self._post_status("/order/create", body, wait_seconds, sent)

    async def _post_status(
        self, path: str, body: Mapping[str, object], wait_seconds: int, sent: Callable[[], None] | None = None
    ) -> int:
        headers = {"content-type": "application/json", **self._headers(path, body, wait_seconds)}
        data = msgspec.json.encode(body)  # UTF-8: escapes would make a body of such a character three times as long
        try:
            async with self._shop.post(path, data=data, headers=headers, trace_request_ctx=sent) as answer:
                await answer.read()
                return answer.status
        except (ClientError, TimeoutError):
            return 0

    async def settle(self) -> None:
        """Wait until every order so far has its mail: each order ends with one."""
        await self._mails.wait_for(self.orders)
