"""The faulty network: each fault does to real connections what it says, and no more."""

from __future__ import annotations

import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from tests.faults.network import Link, Network

SECONDS_MAX = 5.0
SILENCE_SECONDS = 0.3


class Echo(socketserver.BaseRequestHandler):
    """Sends back what it receives, and ends when its client does."""

    def handle(self) -> None:
        """Serve one connection."""
        while data := self.request.recv(4096):
            self.request.sendall(data)


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.fixture
def link(echo: int) -> Iterator[Link]:
    """A link to it."""
    with closing(Network(1)) as network:
        yield network.link("echo", echo)


def connected(link: Link) -> socket.socket:
    """A connection through the link, over which something went to and fro."""
    connection = socket.create_connection(("127.0.0.1", link.port), SECONDS_MAX)
    assert queried(connection, b"hello")
    return connection


def queried(connection: socket.socket, data: bytes) -> bool:
    """Whether what was sent comes back."""
    connection.sendall(data)
    return connection.recv(4096) == data


def is_reset(connection: socket.socket) -> bool:
    """Whether the connection was reset, and not closed in order."""
    try:
        connection.recv(4096)
    except ConnectionResetError:
        return True
    return False


def test_a_link_passes_everything_both_ways(link: Link) -> None:
    """Also what is larger than every buffer."""
    sent = bytes(range(256)) * 20_000
    with connected(link) as connection:
        threading.Thread(target=connection.sendall, args=(sent,), daemon=True).start()
        received = b""
        while len(received) < len(sent):
            received += connection.recv(65536)

    assert sent == received


def test_the_end_of_what_is_sent_is_passed_on(link: Link) -> None:
    """The server then ends, too, and nothing is left of the connection."""
    with connected(link) as connection:
        connection.shutdown(socket.SHUT_WR)

        assert b"" == connection.recv(4096)
    wait_until(lambda: not link.pipes)


def test_a_lossy_connection_loses_what_is_sent_and_is_then_reset(link: Link) -> None:
    """The server never has it: the same connection does not echo it later."""
    with connected(link) as connection, connected(link) as later:
        reset = link.lose(1.0)
        connection.sendall(b"lost")
        connection.settimeout(SILENCE_SECONDS)
        with pytest.raises(TimeoutError):
            connection.recv(4096)
        connection.settimeout(SECONDS_MAX)
        reset()

        assert is_reset(connection)
        assert is_reset(later)
    with connected(link) as after:
        assert queried(after, b"as before")


def test_a_share_of_the_connections_is_hit(link: Link) -> None:
    """Drawn from the seed."""
    connections = [connected(link) for _ in range(40)]
    link.cut(0.4)
    time.sleep(0.1)
    for connection in connections:
        connection.settimeout(SECONDS_MAX)
    alive = sum(not _is_dead(connection) for connection in connections)
    for connection in connections:
        connection.close()

    assert 10 < alive < 35


def _is_dead(connection: socket.socket) -> bool:
    try:
        return not queried(connection, b"alive?")
    except OSError:
        return True


def test_a_half_open_connection_is_silent_for_good(link: Link) -> None:
    """New ones are accepted meanwhile and never answered; later ones are as before."""
    with connected(link) as old:
        undo = link.silence(1.0)
        with socket.create_connection(("127.0.0.1", link.port), SECONDS_MAX) as new:
            wait_until(lambda: len(link.pipes) == 2)
            undo()
            for connection in (old, new):
                connection.sendall(b"is anybody there")
                connection.settimeout(SILENCE_SECONDS)
                with pytest.raises(TimeoutError):
                    connection.recv(4096)
        with connected(link) as after:
            assert queried(after, b"as before")


def test_a_slow_link_is_slow_each_way_and_keeps_the_order(link: Link) -> None:
    """And fast again afterwards, with nothing lost in between."""
    with connected(link) as connection:
        undo = link.slow(0.15)
        began = time.monotonic()
        assert queried(connection, b"slow")
        assert 0.3 <= time.monotonic() - began < SECONDS_MAX
        connection.sendall(b"first")
        undo()
        connection.sendall(b"second")
        received = b""
        while len(received) < len(b"firstsecond"):
            received += connection.recv(4096)

    assert b"firstsecond" == received


def test_a_server_that_is_unreachable_is_unreachable_behind_the_link(link: Link) -> None:
    """Its clients are reset."""
    link.target = free_port()
    address = ("127.0.0.1", link.port)
    with pytest.raises(ConnectionResetError), socket.create_connection(address, SECONDS_MAX) as connection:
        connection.recv(1)  # unless it was reset already when it was made


def free_port() -> int:
    """A port at which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(done: Callable[[], bool]) -> None:
    """Wait for what the other thread does."""
    end = time.monotonic() + SECONDS_MAX
    while not done():
        assert time.monotonic() < end
        time.sleep(0.01)
