"""Who loads one system: users who were registered before, ordering by turns."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypedDict

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector, TraceConfig, TraceRequestChunkSentParams

from bench.systems import System
from cli.rotation import older

AT_ONCE = 64
DEPOSIT_CENTS = 10**9
MAILS_SECONDS_MAX = 300.0
LOOK_SECONDS = 0.005
CALL_SECONDS_MAX = 60.0


class Item(TypedDict):
    """What is ordered."""

    sku: str
    quantity: int
    unit_price_cents: int


ITEM: Item = {"sku": "tea", "quantity": 2, "unit_price_cents": 450}


class Mails:
    """How many mails the mail server took so far: the number in the last line of its log."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._newest = 0

    def taken(self) -> int:
        """The number of the newest mail."""
        for log in (self._log, older(self._log)):  # the log may just have been rotated
            if log.exists() and (numbers := _numbers(log)):
                self._newest = max(self._newest, int(numbers[-1]))
                break
        return self._newest

    async def wait_for(self, number: int) -> None:
        """Return when so many were taken."""
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

    def __init__(self, system: System) -> None:
        self.system = system
        self.items: Sequence[Item] = [ITEM]
        """What each order asks for."""
        self.orders = 0
        self.statuses: Counter[int] = Counter()
        self._users: list[str] = []
        self._mails = Mails(system.mail_log)
        self._registered = 0

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
        """Register so many, each with a deposit."""
        numbers = iter(range(users))

        async def register() -> None:
            for _ in numbers:
                user = await self._post("/user/register", self.newcomer())
                await self._post("/account/deposit", {"user_id": user, "amount_cents": DEPOSIT_CENTS})
                self._users.append(user)

        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(register())

    async def leave_it_to_one(self) -> None:
        """Register one more, who alone orders from now on."""
        await self.register(1)
        self._users = self._users[-1:]

    def newcomer(self) -> dict[str, str]:
        """The body of a registration of somebody new."""
        self._registered += 1
        return {"email": f"u{self._registered}.{time.time_ns()}@example.com", "name": f"User {self._registered}"}

    async def _post(self, path: str, body: Mapping[str, object]) -> str:
        async with self._shop.post(path, json=body, headers={"prefer": "wait=30"}) as answer:
            answer.raise_for_status()
            return str((await answer.json())["user_id"])

    async def floor(self) -> int:
        """One request of the floor."""
        async with self._floor.post("/ask") as answer:
            await answer.read()
            return answer.status

    async def order(self) -> int:
        """The next user orders; returns the status of the answer, 0 if none came."""
        status = await self.parked_order(30, None)
        self.statuses[status] += 1
        return status

    async def newcome(self) -> int:
        """Somebody new registers."""
        return await self._asked("/user/register", self.newcomer(), 30)

    async def parked_order(self, wait_seconds: int, sent: Callable[[], None] | None) -> int:
        """The same, held for so long, saying when the request was written; it does not count among `statuses`."""
        self.orders += 1
        body = {"user_id": self._users[self.orders % len(self._users)], "items": self.items}
        return await self._asked("/order/create", body, wait_seconds, sent)

    async def _asked(
        self, path: str, body: Mapping[str, object], wait_seconds: int, sent: Callable[[], None] | None = None
    ) -> int:
        headers = {"prefer": f"wait={wait_seconds}"}
        try:
            async with self._shop.post(path, json=body, headers=headers, trace_request_ctx=sent) as answer:
                await answer.read()
                return answer.status
        except (ClientError, TimeoutError):
            return 0

    async def settle(self) -> None:
        """Wait until every order so far has its mail: each order ends with one."""
        await self._mails.wait_for(self.orders)
