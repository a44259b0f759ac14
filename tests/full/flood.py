"""A caller far over its limit, in a process of its own: it sends a request at a constant rate."""

from __future__ import annotations

import select
import socket
import time
from collections import Counter
from multiprocessing.connection import Connection

BATCHES_PER_SECOND = 20
CONNECTIONS = 20
SECONDS = 30.0


def flood(port: int, request: bytes, per_second: int, control: Connection) -> None:
    """Send until told to stop, whatever is answered; then send back the number of each status."""
    counts: Counter[int] = Counter()
    connections = [socket.create_connection(("127.0.0.1", port), SECONDS) for _ in range(CONNECTIONS)]
    for each in connections:
        each.setblocking(False)
    batch, began, number = max(1, per_second // BATCHES_PER_SECOND), time.monotonic(), 0
    control.send("started")
    while not control.poll():
        for position in range(batch):
            try:
                connections[(number + position) % CONNECTIONS].send(request)
            except BlockingIOError:  # the server reads no more: it has answers to write first
                counts[0] += 1
        number += batch
        _read(connections, counts)
        time.sleep(max(0.0, began + number / per_second - time.monotonic()))
    seconds = time.monotonic() - began
    for each in connections:
        each.close()
    control.send((number, seconds, dict(counts)))


def _read(connections: list[socket.socket], counts: Counter[int]) -> None:
    for each in select.select(connections, [], [], 0)[0]:
        received = each.recv(1 << 20)
        for line in received.split(b"HTTP/1.1 ")[1:]:
            if line[:3].isdigit():
                counts[int(line[:3])] += 1
