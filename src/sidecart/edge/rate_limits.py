"""Limits of one caller and of one address, so that one of them does not slow the others.

Each gateway counts for itself: N gateways allow up to N times as much.
"""

from __future__ import annotations

import ipaddress
import math
from collections import Counter
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager
from datetime import timedelta

from starlette.types import ASGIApp, Receive, Scope, Send
from throttled import RateLimiterType, Throttled
from throttled.rate_limiter import per_duration
from throttled.store import MemoryStore

from sidecart.chassis.server.request_body import RequestBody
from sidecart.chassis.telemetry.metrics import ANSWERED, OTHER
from sidecart.edge.problems import Problem

WINDOW_SECONDS = 10
COUNTERS_MAX = 50_000
"""Counters in memory, of about 400 bytes; two for each caller or address. The one that was used
least recently goes first."""
IPV6_PREFIX = 64
"""One client usually has a whole network of this size, so it counts as one address."""


class Rate:
    """At most `requests` within `WINDOW_SECONDS`, for each key; 0 for no limit."""

    def __init__(self, name: str, requests: int) -> None:
        self._name = name
        self._requests = requests
        self._limiter = _sliding_window(requests) if requests else None

    def check(self, key: str) -> Problem | None:
        """Count a request; return Problem 429 if it is one too many."""
        if self._limiter is None or not (result := self._limiter.limit(key)).limited:
            return None
        seconds = max(1, math.ceil(result.state.retry_after))
        return Problem(
            429,
            "rate_limited",
            f"at most {self._requests} requests within {WINDOW_SECONDS} s of one {self._name}; try again later",
            headers={
                "Retry-After": str(seconds),
                "RateLimit-Policy": f'"{self._name}";q={self._requests};w={WINDOW_SECONDS}',
                "RateLimit": f'"{self._name}";r={result.state.remaining};t={seconds}',
            },
        )


def _sliding_window(requests: int) -> Throttled:
    quota = per_duration(timedelta(seconds=WINDOW_SECONDS), requests)
    store = MemoryStore(options={"MAX_SIZE": COUNTERS_MAX})
    return Throttled(using=RateLimiterType.SLIDING_WINDOW.value, quota=quota, store=store)


class CallerLimits:
    """How often a caller may send requests, and how many of them are held at the same time."""

    def __init__(self, requests: int, held: int) -> None:
        """Allow this many requests within `WINDOW_SECONDS`, and held requests; 0 for no limit."""
        self._rate = Rate("caller", requests)
        self._held_max = held
        self._held: Counter[str] = Counter()

    def check(self, caller: str) -> None:
        """Count a request; raise Problem 429 if it is one too many."""
        if (problem := self._rate.check(caller)) is not None:
            raise problem

    @contextmanager
    def hold(self, caller: str) -> Iterator[None]:
        """Count a held request while the context is open; raise Problem 429."""
        if self._held_max and self._held[caller] >= self._held_max:
            raise Problem(
                429,
                "rate_limited",
                f"at most {self._held_max} requests of one caller are held; wait for their responses",
                headers={"Retry-After": "1"},
            )
        self._held[caller] += 1
        try:
            yield
        finally:
            self._held[caller] -= 1
            if not self._held[caller]:
                del self._held[caller]


class AddressLimit:
    """Middleware that answers 429 to an address with too many requests."""

    def __init__(self, app: ASGIApp, requests: int, proxies: Set[str], exempt: tuple[str, ...]) -> None:
        """Limit all addresses but `proxies`, and all paths but those that begin with `exempt`."""
        self._app = app
        self._rate = Rate("address", requests)
        self._proxies = proxies
        self._exempt = exempt

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or reject it."""
        if scope["type"] != "http" or scope["path"].startswith(self._exempt):
            await self._app(scope, receive, send)
            return
        address = client_address(scope, self._proxies)
        problem = None if address is None else self._rate.check(address)
        if problem is None:
            await self._app(scope, receive, send)
            return
        ANSWERED[OTHER, problem.status].inc()
        await RequestBody(receive).drain(scope)
        await problem.response()(scope, receive, send)


def client_address(scope: Scope, proxies: Set[str]) -> str | None:
    """Return the address of the client, as its network for IPv6; None if only proxies are known.

    A proxy adds the address that it sees at the end of X-Forwarded-For. The client may have written
    everything before the last address that is no proxy.
    """
    peer = scope["client"][0] if scope.get("client") else ""
    if peer not in proxies:
        return _network(peer)
    for sent in reversed(_forwarded(scope["headers"])):
        if sent not in proxies:
            return _network(sent)
    return None


def _forwarded(headers: Sequence[tuple[bytes, bytes]]) -> list[str]:
    lines = [value.decode("latin-1") for name, value in headers if name == b"x-forwarded-for"]
    return [word for line in lines for each in line.split(",") if (word := each.strip())]


def _network(address: str) -> str:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address[:45]  # no address: a proxy's name for an unknown client
    if found.version == 4:
        return str(found)
    mapped = found.ipv4_mapped
    return str(mapped or ipaddress.ip_network((found, IPV6_PREFIX), strict=False).network_address)
