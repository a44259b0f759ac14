"""One caller sends ten times its limit. Another caller's orders stay as fast as without it.

Both cases are measured by turns in one run, so other load of the machine falls on both.
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import httpx
import pytest

from sidecart.edge.rate_limits import WINDOW_SECONDS
from sidecart.launcher.lifecycle.system import System
from sidecart.launcher.topics import GATEWAY
from sidecart.testkit.tap import Tap
from tests.e2e.conftest import options
from tests.e2e.shopper import SECONDS, TEA, Shopper, new_address
from tests.full.flood import flood

pytestmark = [pytest.mark.own_shop, pytest.mark.sidecars]

REQUESTS_PER_CALLER = int(os.environ.get("REQUESTS_PER_CALLER", "100"))
HELD_PER_CALLER = int(os.environ.get("HELD_PER_CALLER", "2"))
"""Far below what two cores can do. The usual limits protect a larger machine (limits.md)."""
ENV = {"REQUESTS_PER_CALLER": str(REQUESTS_PER_CALLER), "HELD_PER_CALLER": str(HELD_PER_CALLER)}
TIMES = 10
TURNS, TURN_SECONDS = 10, 4.0
RATIO_MAX = 2.0
PERCENT = 99
OTHERS = 20


@pytest.fixture(scope="module")
def shopper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shopper]:
    """Start a shop with the usual limits; return its client."""
    with (
        System(replace(options(tmp_path_factory.mktemp("fair")), env=ENV), print) as shop,
        Tap(shop) as tap,
        Shopper(shop, tap) as client,
    ):
        yield client


@dataclass(slots=True)
class Measured:
    """The seconds of another caller's orders."""

    seconds: list[float] = field(default_factory=list)

    def percentile(self, percent: float) -> float:
        """Return a percentile in milliseconds."""
        return sorted(self.seconds)[int(len(self.seconds) * percent / 100)] * 1000


@contextmanager
def flooding(shopper: Shopper, request: bytes) -> Iterator[dict[str, object]]:
    """Let a caller send ten times its limit, in another process; yield what it was answered."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    rate = TIMES * REQUESTS_PER_CALLER // WINDOW_SECONDS
    process = context.Process(target=flood, args=(shopper.shop.ports[GATEWAY], request, rate, theirs))
    process.start()
    assert ours.poll(SECONDS)
    ours.recv()
    found: dict[str, object] = {}
    try:
        yield found
    finally:
        ours.send("stop")
        assert ours.poll(SECONDS)
        found["sent"], found["seconds"], found["statuses"] = ours.recv()
        process.join(SECONDS)


def order_for(shopper: Shopper, seconds: float, callers: Iterator[dict[str, str]], into: Measured) -> None:
    """Place orders, one after the other, by turns of several callers, so that none is over its
    limit.
    """
    end = time.monotonic() + seconds
    with httpx.Client(base_url=shopper.shop.url, timeout=SECONDS, trust_env=False) as client:
        while time.monotonic() < end:
            headers = next(callers)
            began = time.monotonic()
            answer = client.post("/order/create", json={"items": [TEA]}, headers=headers)
            into.seconds.append(time.monotonic() - began)
            assert 201 == answer.status_code, answer.text


@pytest.mark.attack("requests", "a caller sends ten times its limit (fairness)", "limit of a caller")
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_flood_of_one_caller_does_not_slow_another(shopper: Shopper, method: str) -> None:
    """The p99 of the other caller's held orders is at most twice that without the flood."""
    *emails, flooder = (new_address() for _ in range(OTHERS + 1))
    for each in (*emails, flooder):
        shopper.register(email=each)
    body = json.dumps({"items": [TEA]}).encode() if method == "POST" else b""
    head = (
        f"{method} /order/create HTTP/1.1\r\nhost: localhost\r\n"
        if body
        else "GET /order/x HTTP/1.1\r\nhost: localhost\r\n"
    )
    fields = shopper.caller(flooder) | (
        {"content-type": "application/json", "content-length": str(len(body))} if body else {}
    )
    request = (head + "".join(f"{name}: {value}\r\n" for name, value in fields.items())).encode() + b"\r\n" + body
    others = itertools.cycle([shopper.caller(each) for each in emails])
    alone, beside, floods = Measured(), Measured(), []
    for _ in range(TURNS):
        order_for(shopper, TURN_SECONDS, others, alone)
        with flooding(shopper, request) as answered:
            order_for(shopper, TURN_SECONDS, others, beside)
        floods.append(answered)

    ratio = beside.percentile(PERCENT) / alone.percentile(PERCENT)
    for name, measured in (("alone", alone), ("beside the flood", beside)):
        print(
            f"{method} {name}: {len(measured.seconds)} orders, p50 {measured.percentile(50):.1f} ms, "
            f"p99 {measured.percentile(PERCENT):.1f} ms"
        )
    print(f"{method} p99 ratio {ratio:.2f}; the floods: {floods}")
    assert ratio <= RATIO_MAX
