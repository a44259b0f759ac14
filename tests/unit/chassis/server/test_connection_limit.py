"""A server answers 503 to connections beyond its limits, and counts closed ones no longer."""

from __future__ import annotations

import asyncio
import resource

import pytest

from sidecart.chassis.server.connection_limit import ConnectionLimit, raise_file_limit
from sidecart.chassis.server.serve import connection_limit
from sidecart.chassis.settings import SettingError, Settings, addresses, read
from tests.unit.chassis.server.test_protocol import HEAD, SECONDS_MAX, echo, served
from tests.unit.chassis.test_settings import WHOLE
from tests.unit.edge.fakes import until

PROXY_ADDRESS = "10.0.0.1"
PROXY, CLIENT, OTHER = (PROXY_ADDRESS, 1), ("10.0.0.2", 2), ("10.0.0.3", 3)


def test_one_address_cannot_take_all_connections() -> None:
    """Another client still gets one; a proxy stands for many clients."""
    limit = ConnectionLimit(5, 2, frozenset({PROXY_ADDRESS}))

    assert [True, True, False] == [limit.admits(CLIENT) for _ in range(3)]
    assert limit.admits(OTHER)
    assert [True, True, False] == [limit.admits(PROXY) for _ in range(3)], "five in total"


def test_a_closed_connection_makes_room() -> None:
    """In total and for its address."""
    limit = ConnectionLimit(2, 1, frozenset())
    assert [True, False, True, False] == [limit.admits(each) for each in (CLIENT, CLIENT, OTHER, PROXY)]

    limit.release(CLIENT)
    assert [True, False] == [limit.admits(CLIENT), limit.admits(PROXY)]


def test_a_connection_too_many_gets_503_and_the_next_one_is_served() -> None:
    """The response is a problem, and does not wait for a request."""

    async def scenario() -> None:
        limit = ConnectionLimit(9, 1, frozenset())
        async with asyncio.timeout(SECONDS_MAX), served(echo, limit) as (server, port):
            _, first = await asyncio.open_connection("127.0.0.1", port)
            await until(lambda: len(server.server_state.connections) == 1)
            reader, refused = await asyncio.open_connection("127.0.0.1", port)
            answer = await reader.read()
            first.close()
            refused.close()
            await until(lambda: not server.server_state.connections)
            reader, again = await asyncio.open_connection("127.0.0.1", port)
            again.write(HEAD + b"abc")
            served_again = await reader.readuntil(b"\r\n")
            again.close()

        assert answer.startswith(b"HTTP/1.1 503")
        assert b"urn:sidecart:problem:unavailable" in answer
        assert b"HTTP/1.1 200 OK\r\n" == served_again

    asyncio.run(scenario())


def test_the_limit_of_open_files_is_raised_and_kept() -> None:
    """Each connection takes a file; some files are left for the rest of the app."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(before[0], 256), before[1]))
    try:
        assert before[1] == raise_file_limit() == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        limit = connection_limit(Settings("127.0.0.1", 1, 2, "a", "b", connections_max=10**9))
        assert limit.total < before[1]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("soft", [256, resource.RLIM_INFINITY])
def test_a_system_without_a_maximum_has_room_for_connections(soft: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Infinity is a negative number."""
    raised: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, resource.RLIM_INFINITY))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: raised.append(limits))
    settings = Settings("127.0.0.1", 1, 2, "a", "b")

    assert settings.connections_max == connection_limit(settings).total
    assert ([(100_000, resource.RLIM_INFINITY)] if soft == 256 else []) == raised


def test_the_limits_are_settings() -> None:
    """Loopback is a proxy unless the setting names others."""
    found = read(
        {**WHOLE, "CONNECTIONS_MAX": "7", "CONNECTIONS_PER_ADDRESS_MAX": "3", "TRUSTED_PROXIES": "::1, 10.0.0.1"}
    )

    assert (7, 3, frozenset({"::1", PROXY_ADDRESS})) == (
        found.connections_max,
        found.connections_per_address_max,
        found.trusted_proxies,
    )
    assert {"127.0.0.1", "::1"} == read(WHOLE).trusted_proxies


def test_a_wrong_address_stops_the_start() -> None:
    """A name or a network is no address."""
    for value in ("proxy", "10.0.0.0/8", "10.0.0.1:80"):
        with pytest.raises(SettingError, match="TRUSTED_PROXIES"):
            addresses({"TRUSTED_PROXIES": value}, "TRUSTED_PROXIES", frozenset())
