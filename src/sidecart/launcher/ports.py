"""Allocates free ports on the loopback interface, each to one launcher of a login at a time."""

import fcntl
import functools
import os
import random
import socket
import tempfile
from pathlib import Path

from sidecart.launcher.errors import LaunchError

LOWEST, HIGHEST = 20000, 32000
"""Below the ephemeral range (from 32768 on Linux): no outgoing connection takes a port."""

_handed_out: set[int] = set()
_random = random.Random()


def is_free(port: int) -> bool:
    """Whether no process listens on the port, on 127.0.0.1 or on all interfaces."""
    for host in ("127.0.0.1", ""):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            # As servers do: a recently closed connection does not make its port unusable.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                return False
    return True


@functools.cache
def _claims() -> int:
    """Open the file in which every launcher of this login locks one byte per allocated port.

    A launcher allocates a port before the port's owner listens on it. Until then only the lock
    keeps other launchers from that port. The locks end with their process.
    """
    file = Path(tempfile.gettempdir()) / f"sidecart-ports-{os.getuid()}"
    try:
        return os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise LaunchError(f"{file}: {error.strerror}: remove it, or set TMPDIR to your own folder") from error


def _claim(port: int) -> bool:
    """Lock the port for this process; return False if another process has it."""
    try:
        fcntl.lockf(_claims(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except BlockingIOError:
        return False
    return True


def free_port() -> int:
    """Return a port that is free, and that no running launcher has allocated."""
    for _ in range(HIGHEST - LOWEST):
        port = _random.randrange(LOWEST, HIGHEST)
        if port not in _handed_out and is_free(port) and _claim(port):
            _handed_out.add(port)
            return port
    raise LaunchError(f"no free port between {LOWEST} and {HIGHEST}: stop the processes that use them")


def this_or_free_port(preferred: int) -> int:
    """Return the preferred port if it is available, else another free port."""
    if preferred not in _handed_out and is_free(preferred) and _claim(preferred):
        _handed_out.add(preferred)
        return preferred
    return free_port()


def is_listening(port: int, timeout_seconds: float = 1.0) -> bool:
    """Whether a server accepts connections on the port."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(timeout_seconds)
        return probe.connect_ex(("127.0.0.1", port)) == 0
