"""Removes from the streams of Redis what every group has acknowledged and what is old enough.

`python -m sidecart.launcher.servers.trimmer [--alive FILE]`

The settings are the address and the login of the broker (REDIS_HOST, REDIS_USERNAME,
REDIS_PASSWORD), STREAM_RETENTION_SECONDS, and METRICS_PORT and METRICS_HOST. The login needs the
rights of `trimmer` in `sidecart.launcher.permissions` only. If the server refuses a command, the
program prints the server's answer, and tries again at the next look.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import valkey as client_of

from sidecart.chassis.server.listen import bound
from sidecart.chassis.server.metrics_server import serve_metrics
from sidecart.chassis.settings import LOOPBACK, host, whole
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.servers import trimmer_metrics as metrics
from sidecart.launcher.servers import valkey
from sidecart.launcher.servers.stream_trimming import Trimmed, lag_entries, trim
from sidecart.launcher.streams import read_retention, streams

LOOK_SECONDS = 10.0
SHOWN = 3
"""The topics of one line; a missing right concerns all of them."""


class Trimmer:
    """Trims the streams of one broker, and remembers what it printed."""

    def __init__(self, address: str, wanted: Mapping[str, frozenset[str]], retention_seconds: int) -> None:
        self._address = address
        self._wanted = wanted
        self._retention_seconds = retention_seconds
        self._held: list[str] = []
        self._printed: frozenset[str] = frozenset()
        metrics.declare(wanted)

    def look(self) -> None:
        """Trim each stream once, update the metrics, and print what has changed."""
        problems: dict[str, list[str]] = {}
        try:
            with valkey.connection(self._address) as client:
                self._held = list(self._trim_all(client, problems))
        except OSError as error:
            problems[f"the broker cannot be used: {error}"] = []
        lines = [f"{_shown(topics)}: {message}" if topics else message for message, topics in problems.items()]
        if problems:
            metrics.ERRORS.inc(sum(len(topics) or 1 for topics in problems.values()))
        else:
            metrics.PASSED.set_to_current_time()
        self._print_changes(frozenset([*self._held, *lines]))

    def _trim_all(self, client: client_of.Valkey, problems: dict[str, list[str]]) -> Iterator[str]:
        """Yield a line for each stream that a group keeps from being trimmed.

        `problems` gets the streams by the refusal of the server. Raises ValkeyError if the server
        is unreachable.
        """
        seconds, microseconds = _time(client)
        now_ms = seconds * 1_000 + microseconds // 1_000
        oldest_kept = f"{max(0, now_ms - self._retention_seconds * 1_000)}-0"
        for topic, expected in self._wanted.items():
            try:
                found = trim(client, topic, expected, oldest_kept)
                _note(topic, found, lag_entries(client, topic, found), now_ms)
            except client_of.ResponseError as error:  # such as a missing right; the other streams may work
                problems.setdefault(str(error), []).append(topic)
                continue
            if found.lag_seconds(now_ms) > self._retention_seconds:
                yield f"{topic}: {found.slowest} needs entries that are older than {self._retention_seconds} s"

    def _print_changes(self, lines: frozenset[str]) -> None:
        for line in sorted(lines - self._printed):
            print(line, flush=True)
        for line in sorted(self._printed - lines):
            print(f"no longer: {line}", flush=True)
        self._printed = lines


def _shown(topics: Sequence[str]) -> str:
    more = f" and {len(topics) - SHOWN} more" if len(topics) > SHOWN else ""
    return f"{', '.join(topics[:SHOWN])}{more}"


def _time(client: client_of.Valkey) -> tuple[int, int]:
    found: Any = client.time()  # the stub allows a coroutine
    return int(found[0]), int(found[1])


def _note(topic: str, found: Trimmed, lag: int, now_ms: int) -> None:
    metrics.REMOVED.labels(topic).inc(found.removed)
    metrics.LENGTH.labels(topic).set(found.length)
    metrics.LAG_ENTRIES.labels(topic).set(lag)
    metrics.LAG_SECONDS.labels(topic).set(found.lag_seconds(now_ms))


def _look(trimmer: Trimmer, alive: Path | None) -> None:
    if alive is not None:
        alive.touch()
    trimmer.look()


async def watch(trimmer: Trimmer, listeners: Sequence[socket.socket], alive: Path | None) -> None:
    """Look again and again until SIGTERM, and serve the metrics on these sockets."""
    stopped, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with serve_metrics(listeners):
        while not stopped.is_set():
            await asyncio.to_thread(_look, trimmer, alive)
            with suppress(TimeoutError):
                await asyncio.wait_for(stopped.wait(), LOOK_SECONDS)


def arguments() -> argparse.ArgumentParser:
    """Return the parser of the program's arguments."""
    parser = argparse.ArgumentParser(
        description="Removes from the streams of Redis what every group has acknowledged and what is old enough."
    )
    parser.add_argument(
        "--alive", type=Path, metavar="FILE", help="a file to touch at each look, so that a probe sees that it works"
    )
    return parser


def main() -> None:
    """Read the settings and trim until SIGTERM."""
    alive, environ = arguments().parse_args().alive, os.environ
    retention_seconds = read_retention(environ)
    port = whole(environ, "METRICS_PORT", 1, 65535) if environ.get("METRICS_PORT") else None
    try:
        address, wanted = valkey.address_in(environ), streams()
        valkey.url(address)
    except LaunchError as error:
        sys.exit(str(error))
    print(f"trimming {len(wanted)} streams; acknowledged events stay for {retention_seconds} s", flush=True)
    listeners = [] if port is None else bound("METRICS_PORT", host(environ, "METRICS_HOST", LOOPBACK), port)
    asyncio.run(watch(Trimmer(address, wanted, retention_seconds), listeners, alive))


if __name__ == "__main__":
    main()
