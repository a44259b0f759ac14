"""The load's requests: repeated until they are accepted, given up, and settled before the audit."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web

from tests.faults import load
from tests.faults.ledger import Ledger
from tests.faults.load import Load, Plan


class Door:
    """An HTTP server that answers 503 until it is opened, and then one Location for each key."""

    def __init__(self) -> None:
        self.opened = False
        self.queried: Counter[str] = Counter()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def start(self) -> str:
        """Its address."""
        self._thread.start()
        return asyncio.run_coroutine_threadsafe(self._serve(), self._loop).result(10)

    def stop(self) -> None:
        """And the thread."""
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _serve(self) -> str:
        app = web.Application()
        app.router.add_post("/{path:.*}", self._answer)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def _answer(self, request: web.Request) -> web.Response:
        key = request.headers["idempotency-key"]
        self.queried[key] += 1
        if not self.opened:
            return web.json_response({}, status=503)
        return web.json_response({}, status=201, headers={"location": f"/user/{key}"})


@pytest.fixture
def door() -> Iterator[Door]:
    """A closed one."""
    made = Door()
    yield made
    made.stop()


def test_a_request_that_was_given_up_is_settled_with_its_key(
    door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its order may have been paid, so the audit needs its Location; it does not count as accepted in time."""
    monkeypatch.setattr(load, "GIVE_UP_SECONDS", 0.1)
    ledger = Ledger(tmp_path / "ledger.jsonl")
    sent = Load(door.start(), Plan(seed=1, requests=3, per_second=100.0), ledger)
    sent.start()
    sent.join(lambda: None)
    assert [True] * 3 == [each.given_up for each in ledger.intents.values()]

    door.opened = True
    sent.settle()

    ledger.close()
    assert [(True, 201, f"/user/{key}") for key in door.queried] == [
        (each.given_up, each.status, each.location) for each in ledger.intents.values()
    ]
