"""Tests of the load's requests: repeated until accepted, given up, and settled before the audit."""

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


class FakeGateway:
    """An HTTP server that answers 503 until opened, and then 201 with one Location per key."""

    def __init__(self) -> None:
        self.opened = False
        self.requests: Counter[str] = Counter()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def start(self) -> str:
        """Start the server and return its address."""
        self._thread.start()
        return asyncio.run_coroutine_threadsafe(self._serve(), self._loop).result(10)

    def stop(self) -> None:
        """Stop the server and its thread."""
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
        self.requests[key] += 1
        if not self.opened:
            return web.json_response({}, status=503)
        return web.json_response({}, status=201, headers={"location": f"/user/{key}"})


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    """Return a server that is not opened yet."""
    made = FakeGateway()
    yield made
    made.stop()


def test_a_request_that_was_given_up_is_settled_with_its_key(
    gateway: FakeGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A settled request has its Location for the audit, and still counts as given up."""
    monkeypatch.setattr(load, "GIVE_UP_SECONDS", 0.1)
    ledger = Ledger(tmp_path / "ledger.jsonl")
    sent = Load(gateway.start(), Plan(seed=1, requests=3, per_second=100.0), ledger)
    sent.start()
    sent.join(lambda: None)
    assert [True] * 3 == [each.given_up for each in ledger.intents.values()]

    gateway.opened = True
    sent.settle()

    ledger.close()
    assert [(True, 201, f"/user/{key}") for key in gateway.requests] == [
        (each.given_up, each.status, each.location) for each in ledger.intents.values()
    ]
