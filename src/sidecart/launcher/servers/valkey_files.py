"""The commands that make a Redis-compatible server drop removed data, and a reader of all keys."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sidecart.launcher.deadline import Deadline
from sidecart.launcher.errors import LaunchError

COMMANDS = ("BGREWRITEAOF", "SLOWLOG RESET")
"""docs/how-to/erase-from-files.md has the same ones, for a server that you run."""
LOGS = (("SLOWLOG", "GET", "-1"), ("ACL", "LOG"), ("CLIENT", "LIST"))
CALL_SECONDS_MAX = 60.0
"""The time for one call: a long record takes longer than other calls have."""
REWRITE_SECONDS_MAX = 600.0
PAGE = 1_000


def drop_removed_bytes(client: Any, deadline: Deadline) -> None:
    """Rewrite the append-only file and clear the slow log; wait for the end."""

    def ended() -> bool:
        found = client.info("persistence")
        return not (found["aof_rewrite_in_progress"] or found["aof_rewrite_scheduled"])

    def late() -> str:
        return f"the server did not rewrite its file within {REWRITE_SECONDS_MAX:g} s"

    deadline.until(ended, REWRITE_SECONDS_MAX, late)  # one that began before would end too early
    for command in COMMANDS:
        client.execute_command(*command.split())
    deadline.until(ended, REWRITE_SECONDS_MAX, late)
    found = client.info("persistence")
    if found["aof_last_bgrewrite_status"] != "ok":
        raise LaunchError("the server could not rewrite its file: its log has the reason")


def contents(client: Any) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the content of every key, and the server's own logs."""
    readers = {
        b"string": client.get,
        b"hash": client.hgetall,
        b"list": lambda key: client.lrange(key, 0, -1),
        b"set": client.smembers,
        b"zset": lambda key: client.zrange(key, 0, -1),
    }
    for key in client.scan_iter(count=PAGE):
        kind = client.type(key)
        name = f"{kind.decode()} {key.decode(errors='replace')}"
        if kind == b"stream":
            yield from ((name, page) for page in _pages(client, key))
        elif kind in readers:  # a key may be gone in the meantime
            yield name, key + repr(readers[kind](key)).encode()
    for words in LOGS:
        yield f"redis {' '.join(words)}", repr(client.execute_command(*words)).encode()


def _pages(client: Any, key: bytes) -> Iterator[bytes]:
    first = "-"
    while True:
        found = client.xrange(key, min=first, count=PAGE)
        yield key + repr(found).encode()
        if len(found) < PAGE:
            return
        first = f"({found[-1][0].decode()}"
