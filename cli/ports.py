"""Free ports on the loopback interface, each handed out once among the launchers of one user."""

import fcntl
import functools
import os
import random
import socket
import tempfile
from pathlib import Path

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


@functools.cache
def _claims() -> int:
    """The file in which every launcher of this user locks one byte for each port that it handed out.

    A port is handed out some time before its owner listens on it; until then only the lock keeps another launcher off.
    The locks end with their process.
    """
    file = Path(tempfile.gettempdir()) / f"sidecart-ports-{os.getuid()}"
    try:
        return os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise LaunchError(f"{file}: {error.strerror}: remove it, or set TMPDIR to a folder of your own") from error


def _claim(port: int) -> bool:
    """Lock the port for this process; False if another process has it."""
    try:
        fcntl.lockf(_claims(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except BlockingIOError:
        return False
    return True


def free_port() -> int:
    """A port that is free now and that no launcher which still runs has handed out before."""
    for _ in range(HIGHEST - LOWEST):
        port = _random.randrange(LOWEST, HIGHEST)
        if port not in _handed_out and is_free(port) and _claim(port):
            _handed_out.add(port)
            return port
    raise LaunchError(f"no free port between {LOWEST} and {HIGHEST}: stop what holds them")


def this_or_free_port(preferred: int) -> int:
    """The port that is wanted, if it is to be had, else another one."""
    if preferred not in _handed_out and is_free(preferred) and _claim(preferred):
        _handed_out.add(preferred)
        return preferred
    return free_port()


def is_listening(port: int, timeout_seconds: float = 1.0) -> bool:
    """Whether something accepts connections on the port."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(timeout_seconds)
        return probe.connect_ex(("127.0.0.1", port)) == 0
