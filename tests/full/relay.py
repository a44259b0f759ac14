"""A TCP relay between a browser and a server that tests can cut and restore."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

from sidecart.launcher.ports import free_port

CHUNK_BYTES = 64 * 1024


class Relay:
    """Accepts connections on its own port and relays them; a context manager."""

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
        """Accept connections again."""
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        self._listener = socket.create_server((self._host, self.port), family=family)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def cut(self) -> None:
        """Break every connection, and accept none."""
        if self._listener is not None:
            with suppress(OSError):
                # otherwise the thread would keep accepting
                self._listener.shutdown(socket.SHUT_RDWR)
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
            except OSError:  # an unreachable server is unreachable through the relay, too
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
    """Shut connections down, so that their readers end and close them."""
    for each in connections:
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
