"""Tests of the faulty network: each fault affects real connections in the documented way only."""

from __future__ import annotations

import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest

from sidecart.launcher.ports import free_port
from sidecart.testkit.faults.link import Link
from sidecart.testkit.faults.network import Network

SECONDS_MAX = 5.0
SILENCE_SECONDS = 0.3


class Echo(socketserver.BaseRequestHandler):
    """Sends back every received byte, and ends when its client does."""

    def handle(self) -> None:
        """Serve one connection."""
        while data := self.request.recv(4096):
            self.request.sendall(data)


@contextmanager
def serving(server: socketserver.ThreadingTCPServer) -> Iterator[None]:
    """Serve in threads."""
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield
    server.shutdown()


@pytest.fixture
def echo() -> Iterator[int]:
    """Return the port of an echo server."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server, serving(server):
        yield server.server_address[1]


@pytest.fixture
def link(echo: int) -> Iterator[Link]:
    """Return a link to the echo server."""
    with closing(Network(1)) as network:
        yield network.link("echo", echo)


def connected(link: Link) -> socket.socket:
    """Return a connection through the link that has carried data in both directions."""
    connection = socket.create_connection(("127.0.0.1", link.port), SECONDS_MAX)
    assert echoes(connection, b"hello")
    return connection


def echoes(connection: socket.socket, data: bytes) -> bool:
    """Send data and return whether the server echoes it."""
    connection.sendall(data)
    return connection.recv(4096) == data


def is_reset(connection: socket.socket) -> bool:
    """Return whether the connection was reset rather than closed."""
    try:
        connection.recv(4096)
    except ConnectionResetError:
        return True
    return False


def test_a_link_passes_everything_both_ways(link: Link) -> None:
    """The link passes data that is larger than every buffer."""
    sent = bytes(range(256)) * 20_000
    with connected(link) as connection:
        threading.Thread(target=connection.sendall, args=(sent,), daemon=True).start()
        received = b""
        while len(received) < len(sent):
            received += connection.recv(65536)

    assert sent == received


def test_the_end_of_a_stream_is_passed_on(link: Link) -> None:
    """The server sees the end of the client's stream, and the link removes the connection."""
    with connected(link) as connection:
        connection.shutdown(socket.SHUT_WR)

        assert b"" == connection.recv(4096)
    wait_until(lambda: not link.pipes)


def test_a_lossy_connection_loses_data_and_is_then_reset(link: Link) -> None:
    """The server never receives the lost data; the undo resets the connection."""
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
        assert echoes(after, b"as before")


def test_a_fault_affects_a_share_of_the_connections(link: Link) -> None:
    """The link draws the affected connections from its seed."""
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
        return not echoes(connection, b"alive?")
    except OSError:
        return True


def test_a_half_open_connection_stays_silent(link: Link) -> None:
    """During the fault the link accepts connections and never answers; later ones work."""
    with connected(link) as old:
        undo = link.silence(1.0)
        with socket.create_connection(("127.0.0.1", link.port), SECONDS_MAX) as new:
            wait_until(lambda: len(link.pipes) == 2)
            undo()
            for connection in (old, new):
                connection.sendall(b"hello?")
                connection.settimeout(SILENCE_SECONDS)
                with pytest.raises(TimeoutError):
                    connection.recv(4096)
        with connected(link) as after:
            assert echoes(after, b"as before")


def test_a_slow_link_is_slow_each_way_and_keeps_the_order(link: Link) -> None:
    """The link delays both directions; the undo restores the speed, and no data is lost or
    reordered.
    """
    with connected(link) as connection:
        undo = link.slow(0.15)
        started = time.monotonic()
        assert echoes(connection, b"slow")
        assert 0.3 <= time.monotonic() - started < SECONDS_MAX
        connection.sendall(b"first")
        undo()
        connection.sendall(b"second")
        received = b""
        while len(received) < len(b"firstsecond"):
            received += connection.recv(4096)

    assert b"firstsecond" == received


def test_an_unreachable_server_is_unreachable_through_the_link(link: Link) -> None:
    """The link resets clients of an unreachable server."""
    link.target = free_port()
    address = ("127.0.0.1", link.port)
    with pytest.raises(ConnectionResetError), socket.create_connection(address, SECONDS_MAX) as connection:
        connection.recv(1)  # unless the reset arrived while the connection was made


def test_a_link_to_a_process_that_does_not_listen_yet_refuses() -> None:
    """A sidecar that reaches the link before its app listens asks no more for the subscriptions."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo, bind_and_activate=False) as server:
        server.server_bind()
        with closing(Network(1)) as network:
            link = network.link("late", server.server_address[1])
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", link.port), SECONDS_MAX)

            server.server_activate()
            with serving(server):
                wait_until(lambda: link.server is not None)
                connected(link).close()


def test_a_network_ends_whose_target_never_listened() -> None:
    """The port of the link is free again."""
    with closing(Network(1)) as network:
        port = network.link("never", free_port()).port

    with socket.socket() as again:
        again.bind(("127.0.0.1", port))


def wait_until(done: Callable[[], bool]) -> None:
    """Wait until a condition that the network's thread sets is true."""
    end = time.monotonic() + SECONDS_MAX
    while not done():
        assert time.monotonic() < end
        time.sleep(0.01)
