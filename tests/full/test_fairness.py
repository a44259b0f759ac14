"""One caller sends ten times its limit. Another caller's orders stay as fast as without it.

Both cases are measured by turns in one run, so other load of the machine falls on both.
"""

from __future__ import annotations

import json
import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

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

REQUESTS_PER_CALLER = 1_000
"""The default (edge/settings.py)."""
TIMES = 10
TURNS, TURN_SECONDS = 10, 4.0
RATIO_MAX = 2.0
PERCENT = 99


@pytest.fixture(scope="module")
def shopper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shopper]:
    """Start a shop with the usual limits; return its client."""
    with (
        System(options(tmp_path_factory.mktemp("fair")), print) as shop,
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


def order_for(shopper: Shopper, seconds: float, headers: dict[str, str], into: Measured) -> None:
    """Place orders, one after the other."""
    end = time.monotonic() + seconds
    with httpx.Client(base_url=shopper.shop.url, timeout=SECONDS, trust_env=False, headers=headers) as client:
        while time.monotonic() < end:
            began = time.monotonic()
            answer = client.post("/order/create", json={"items": [TEA]})
            into.seconds.append(time.monotonic() - began)
            assert 201 == answer.status_code, answer.text


@pytest.mark.attack("requests", "a caller sends ten times its limit (fairness)", "limit of a caller")
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_flood_of_one_caller_does_not_slow_another(shopper: Shopper, method: str) -> None:
    """The p99 of the other caller's held orders is at most twice that without the flood."""
    email, flooder = new_address(), new_address()
    for each in (email, flooder):
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
    headers, alone, beside, floods = shopper.caller(email), Measured(), Measured(), []
    for _ in range(TURNS):
        order_for(shopper, TURN_SECONDS, headers, alone)
        with flooding(shopper, request) as answered:
            order_for(shopper, TURN_SECONDS, headers, beside)
        floods.append(answered)

    ratio = beside.percentile(PERCENT) / alone.percentile(PERCENT)
    for name, measured in (("alone", alone), ("beside the flood", beside)):
        print(
            f"{method} {name}: {len(measured.seconds)} orders, p50 {measured.percentile(50):.1f} ms, "
            f"p99 {measured.percentile(PERCENT):.1f} ms"
        )
    print(f"{method} p99 ratio {ratio:.2f}; the floods: {floods}")
    assert ratio <= RATIO_MAX
