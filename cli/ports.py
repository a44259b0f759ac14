"""Free ports on the loopback interface, each handed out once."""

import random
import socket

from cli.errors import LaunchError

LOWEST, HIGHEST = 20000, 32000
"""Below the ephemeral range (from 32768 on Linux): no outgoing connection takes a port before its owner does."""

_handed_out: set[int] = set()
_random = random.Random()


def is_free(port: int) -> bool:
    """Whether nothing listens on the port on 127.0.0.1 or on every interface."""
    for host in ("127.0.0.1", ""):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            # What a server does itself: a connection that has just been closed does not make its port unusable.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                return False
    return True


def free_port() -> int:
    """A port that is free now and that this process has not handed out before."""
    # At random, not in order: two launchers that start at the same moment do not race for the same ports.
    for _ in range(HIGHEST - LOWEST):
        port = _random.randrange(LOWEST, HIGHEST)
        if port not in _handed_out and is_free(port):
            _handed_out.add(port)
            return port
    raise LaunchError(f"no free port between {LOWEST} and {HIGHEST}: stop what holds them")


def is_listening(port: int, timeout_seconds: float = 1.0) -> bool:
    """Whether something accepts connections on the port."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(timeout_seconds)
        return probe.connect_ex(("127.0.0.1", port)) == 0
