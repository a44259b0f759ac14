"""Run the tap and poll mails, health and dead letters only while viewers are connected."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import httpx

from sidecart.chassis.server.serve import background
from sidecart.launcher.dead_letters import State
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.servers.server import Broker
from sidecart.launcher.topics import monitor_subscriptions, read_topics
from sidecart.monitor.dead_letters import DeadLetterSummary, summarize
from sidecart.monitor.health import POLL_SECONDS, HealthPoll
from sidecart.monitor.page_state import FAILED, OFF, ON, OPENING, PageState
from sidecart.monitor.tap import TapError, read_all
from sidecart.monitor.viewers import Viewers

log = logging.getLogger(__name__)

REOPEN_SECONDS = 2.0
"""The pause before the tap is opened again."""
DEAD_LETTERS_SECONDS = 5.0
DEAD_LETTERS_SHARE = 10
"""Reading ten thousand dead letters is slow, so the pause is ten times the last read's duration."""


class Watch:
    """A session starts with the first viewer and ends some time after the last one."""

    def __init__(
        self,
        page_state: PageState,
        viewers: Viewers,
        broker: Broker,
        address: str,
        tap: tuple[str, int, str],
        grace_seconds: float,
        background_tasks: Callable[[httpx.AsyncClient], list[Awaitable[None]]],
        ended: Callable[[], None],
    ) -> None:
        self._page_state = page_state
        self._viewers = viewers
        self._broker = broker
        self._address = address
        self._host, self._port, self._token = tap
        self._grace_seconds = grace_seconds
        self._background_tasks = background_tasks
        self._ended = ended

    async def run(self) -> None:
        """Run one session after the other, forever."""
        while True:
            # Remove leftovers of a killed monitor, or of a session that ended without a broker.
            if not await self._unsubscribe():
                await asyncio.sleep(REOPEN_SECONDS)
                continue
            await self._viewers.wait_for_first()
            await self._session()

    async def _session(self) -> None:
        idle = asyncio.create_task(self._viewers.wait_until_idle(self._grace_seconds))
        try:
            async with AsyncExitStack() as stack:
                client = await stack.enter_async_context(httpx.AsyncClient(trust_env=False))
                for work in self._background_tasks(client):
                    await stack.enter_async_context(background(work))
                await self._tap_until(idle)
        finally:
            idle.cancel()
            self._page_state.set_tap(OFF)
            self._ended()
            await self._unsubscribe()

    async def _tap_until(self, idle: asyncio.Task[None]) -> None:
        """Keep the tap open; after a failure the broker still holds the events in between."""
        backlog_skipped = False
        while not idle.done():
            self._page_state.set_tap(OPENING)
            try:
                if not backlog_skipped:
                    await asyncio.to_thread(self._broker.skip_backlog, self._address, monitor_subscriptions())
                    backlog_skipped = True
                reading = asyncio.create_task(
                    read_all(
                        self._port,
                        self._token,
                        list(read_topics()),
                        self._page_state.add_event,
                        self._opened,
                        self._host,
                    )
                )
                try:
                    await asyncio.wait([reading, idle], return_when=asyncio.FIRST_COMPLETED)
                finally:
                    reading.cancel()
                    await asyncio.wait([reading])
                if not reading.cancelled():
                    reading.result()
            except (OSError, TapError) as error:
                log.warning("the tap failed: %s (%r)", error, error.__cause__)
                self._page_state.set_tap(FAILED, str(error))
                await asyncio.wait([idle], timeout=REOPEN_SECONDS)

    def _opened(self) -> None:
        self._page_state.set_tap(ON)

    async def _unsubscribe(self) -> bool:
        """Remove the tap's groups or queues, which would grow unread; return whether it worked."""
        try:
            await asyncio.to_thread(self._broker.remove, self._address, monitor_subscriptions())
        except OSError as error:
            log.warning("the tap's groups or queues may still exist at the broker: %s", error)
            self._page_state.set_tap(FAILED, str(error))
            return False
        return True


async def poll_health(page_state: PageState, health_poll: HealthPoll, client: httpx.AsyncClient) -> None:
    """Poll the health of all processes, forever."""
    while True:
        page_state.set_health(await health_poll.poll(client))
        await asyncio.sleep(POLL_SECONDS)


async def read_dead_letters(page_state: PageState, state: State, changed: asyncio.Event) -> None:
    """Read the dead letters periodically, and at once after an action on one of them."""
    while True:
        changed.clear()
        started = time.monotonic()
        page_state.set_dead_letters(await asyncio.to_thread(_summary, state))
        pause = max(DEAD_LETTERS_SECONDS, DEAD_LETTERS_SHARE * (time.monotonic() - started))
        try:
            async with asyncio.timeout(pause):
                await changed.wait()
        except TimeoutError:
            continue


def _summary(state: State) -> DeadLetterSummary | str:
    try:
        return summarize(state)
    except LaunchError as error:
        return str(error)
