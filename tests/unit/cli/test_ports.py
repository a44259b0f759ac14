"""Ports: free, loopback, below the ephemeral range, never twice."""

import socket

from cli.ports import HIGHEST, LOWEST, free_port, is_free, is_listening


def test_a_port_is_handed_out_once() -> None:
    """Two callers never get the same port, even if neither has bound it yet."""
    ports = [free_port() for _ in range(200)]

    assert len(ports) == len(set(ports))
    assert all(LOWEST <= port < HIGHEST for port in ports)


def test_a_port_somebody_listens_on_is_not_free() -> None:
    """A listener on one interface is enough."""
    with socket.create_server(("127.0.0.1", free_port())) as server:
        port = server.getsockname()[1]

        assert not is_free(port)
        assert is_listening(port)
    assert is_free(port)
    assert not is_listening(port)
