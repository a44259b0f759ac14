"""A relay between a browser and a server that can be cut like a cable, and mended."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

from cli.ports import free_port

CHUNK_BYTES = 64 * 1024


class Relay:
    """Takes connections on a port of its own and passes them on; a context manager."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self._to = port
        self._host = host
        self.port = free_port()
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None
        self._open: set[socket.socket] = set()
        self._pumps: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self.mend()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cut()
        for pump in self._pumps:
            pump.join()

    def mend(self) -> None:
        """Take connections again."""
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        self._listener = socket.create_server((self._host, self.port), family=family)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def cut(self) -> None:
        """Break every connection off, and take none."""
        if self._listener is not None:
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)  # else the thread would go on accepting
            self._listener.close()
        with self._lock:
            _end(*self._open)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self._to))
            except OSError:  # the server is unreachable: so is the way to it
                near.close()
                continue
            with self._lock:
                self._open |= {near, far}
            for one, other in ((near, far), (far, near)):
                self._pumps.append(threading.Thread(target=self._pump, args=(one, other), daemon=True))
                self._pumps[-1].start()

    def _pump(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while chunk := one.recv(CHUNK_BYTES):
                other.sendall(chunk)
        _end(one, other)
        with self._lock:
            self._open.discard(one)
        one.close()


def _end(*connections: socket.socket) -> None:
    """Break them off: whoever reads from one is told that it is over, and closes it."""
    for each in connections:
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
