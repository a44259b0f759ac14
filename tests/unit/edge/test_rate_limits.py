"""A caller, an address and a holder have limits, and the address comes from trusted proxies
only.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import httpx
import pytest
from starlette.responses import PlainTextResponse

from sidecart.edge.problems import Problem
from sidecart.edge.rate_limits import WINDOW_SECONDS, AddressLimit, CallerLimits, client_address

PROXIES = frozenset({"10.0.0.1", "10.0.0.2"})


def statuses(limits: CallerLimits, caller: str, requests: int) -> list[int]:
    """Return the status of each request."""
    found = []
    for _ in range(requests):
        try:
            limits.check(caller)
        except Problem as problem:
            found.append(problem.status)
        else:
            found.append(200)
    return found


def test_each_caller_has_its_own_limit() -> None:
    """The next one is not affected."""
    limits = CallerLimits(3, 0)

    assert [200, 200, 200, 429, 429] == statuses(limits, "ann", 5)
    assert [200, 200, 200, 429] == statuses(limits, "bob", 4)
    assert [200] * 10 == statuses(CallerLimits(0, 0), "ann", 10)


def test_the_answer_says_when_to_try_again() -> None:
    """The headers are those of the IETF draft."""
    limits = CallerLimits(1, 0)
    limits.check("ann")

    with pytest.raises(Problem) as refused:
        limits.check("ann")

    headers = refused.value.headers
    assert 1 <= int(headers["Retry-After"]) <= 2 * WINDOW_SECONDS
    assert f'"caller";q=1;w={WINDOW_SECONDS}' == headers["RateLimit-Policy"]
    assert headers["RateLimit"].startswith('"caller";r=0;t=')


def test_a_check_starts_no_thread() -> None:
    """A thread would cost many times as much as the check."""
    before = threading.active_count()

    assert [200] * 3 == statuses(CallerLimits(3, 0), "ann", 3)

    assert before == threading.active_count()


def test_held_requests_are_counted_until_they_end() -> None:
    """A second caller has places of its own."""
    limits = CallerLimits(0, 2)
    with limits.hold("ann"), limits.hold("bob"):
        with limits.hold("ann"), pytest.raises(Problem, match="held"), limits.hold("ann"):
            pytest.fail("the third one is refused")
        with limits.hold("ann"):
            pass
    assert {} == dict(limits._held)


def scope(peer: str, *forwarded: str) -> dict[str, Any]:
    """Return the scope of a request."""
    headers = [(b"x-forwarded-for", each.encode()) for each in forwarded]
    return {"type": "http", "path": "/x", "client": (peer, 1), "headers": headers}


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("203.0.113.7", (), "203.0.113.7"),
        ("203.0.113.7", ("198.51.100.1",), "203.0.113.7"),
        ("10.0.0.1", ("198.51.100.1",), "198.51.100.1"),
        ("10.0.0.1", ("1.1.1.1, 198.51.100.1",), "198.51.100.1"),
        ("10.0.0.1", ("1.1.1.1", "198.51.100.1, 10.0.0.2"), "198.51.100.1"),
        ("10.0.0.1", (), None),
        ("10.0.0.1", ("10.0.0.2",), None),
        ("10.0.0.1", ("unknown",), "unknown"),
        ("2001:db8:1:2:3::4", (), "2001:db8:1:2::"),
        ("10.0.0.1", ("::ffff:198.51.100.1",), "198.51.100.1"),
    ],
)
def test_the_address_is_the_last_one_that_is_no_proxy(
    peer: str, forwarded: tuple[str, ...], expected: str | None
) -> None:
    """A client cannot choose its address by a header."""
    assert expected == client_address(scope(peer, *forwarded), PROXIES)


def answers(peer: str, requests: int, path: str = "/x", **headers: str) -> list[httpx.Response]:
    """Return the responses to requests of one peer."""

    async def run() -> list[httpx.Response]:
        app = AddressLimit(PlainTextResponse("in"), 3, PROXIES, ("/events", "/healthz"))
        transport = httpx.ASGITransport(app=app, client=(peer, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
            return [await client.post(path, content=b"x", headers=headers) for _ in range(requests)]

    return asyncio.run(run())


def test_an_address_with_too_many_requests_gets_429_on_every_path() -> None:
    """Also one that changes X-Forwarded-For each time; events and health checks have no limit."""
    assert [200, 200, 200, 429] == [each.status_code for each in answers("203.0.113.7", 4)]
    assert [200] * 5 == [each.status_code for each in answers("203.0.113.7", 5, "/events/a/b")]
    assert [200] * 5 == [each.status_code for each in answers("203.0.113.7", 5, "/healthz")]
    assert [200] * 5 == [each.status_code for each in answers("10.0.0.1", 5)]
    last = answers("10.0.0.1", 4, **{"x-forwarded-for": "198.51.100.1"})[-1]
    assert (429, "application/problem+json") == (last.status_code, last.headers["content-type"])
    assert {"retry-after", "ratelimit", "ratelimit-policy"} <= set(last.headers)
