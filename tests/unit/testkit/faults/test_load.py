"""Tests of the load's requests: repeated until accepted, given up, and settled before the audit."""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from sidecart.testkit.acting import Acting
from sidecart.testkit.faults import load
from sidecart.testkit.faults.ledger import Intent, Ledger
from sidecart.testkit.faults.load import Load, Plan


class Lamps:
    """A source of requests that all create a lamp; it notes the accepted ones."""

    def __init__(self) -> None:
        self.created: list[str] = []

    def next(self, number: int, chance: random.Random) -> tuple[str, dict[str, Any]]:
        """Return the next request, with a brightness by chance."""
        return "/lamp/create", {"brightness": chance.randint(1, 100)}

    def accepted(self, intent: Intent) -> None:
        """Note the location."""
        self.created.append(str(intent.location))


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
        return web.json_response({}, status=201, headers={"location": f"/lamp/{key}"})


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
    sent = Load(gateway.start(), Plan(seed=1, requests=3, per_second=100.0), Lamps(), ledger, Acting(tmp_path, ()))
    sent.start()
    sent.join(lambda: None)
    assert [True] * 3 == [each.given_up for each in ledger.intents.values()]

    gateway.opened = True
    sent.settle()

    ledger.close()
    assert {key: (True, 201, f"/lamp/{key}") for key in gateway.requests} == {
        key: (each.given_up, each.status, each.location) for key, each in ledger.intents.items()
    }


def test_the_same_seed_gives_the_same_requests(gateway: FakeGateway, tmp_path: Path) -> None:
    """The seed decides the bodies and the keys; the source learns of each accepted request."""
    gateway.opened = True
    url, loads = gateway.start(), []
    for name, seed in (("one", 1), ("same", 1), ("other", 2)):
        ledger, lamps = Ledger(tmp_path / name), Lamps()
        sent = Load(url, Plan(seed=seed, requests=3, per_second=100.0), lamps, ledger, Acting(tmp_path, ()))
        sent.start()
        sent.join(lambda: None)
        ledger.close()
        assert {f"/lamp/{key}" for key in ledger.intents} == set(lamps.created)
        loads.append([(key, each.body) for key, each in ledger.intents.items()])

    assert loads[0] == loads[1] != loads[2]


def test_callers_send_at_most_their_rate(gateway: FakeGateway, tmp_path: Path) -> None:
    """The rate is that of all callers together."""
    gateway.opened = True
    ledger = Ledger(tmp_path / "ledger.jsonl")
    plan = Plan(seed=1, requests=0, per_second=20.0, clients=2, seconds=1.0)
    sent = Load(gateway.start(), plan, Lamps(), ledger, Acting(tmp_path, ()))
    sent.start()
    sent.join(lambda: None)
    ledger.close()

    assert 2 <= sent.sent <= 22
