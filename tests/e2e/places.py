"""Searches every place of a running system for a text: records, streams, queues, tables, files.

The mailbox of the mail catcher is not searched. It stands for the mailboxes of the recipients: a
mail in it has been delivered, and left the system.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import valkey
from psycopg import sql

from sidecart.launcher.lifecycle.start import MAILS
from sidecart.launcher.lifecycle.system import System
from sidecart.launcher.servers import rabbitmq, rabbitmq_queues
from sidecart.launcher.servers import valkey as valkey_server
from sidecart.testkit.contents import QUEUES

BLOCK_BYTES = 4 * 2**20
LOGS_OF_THE_SERVER = (("SLOWLOG", "GET", "-1"), ("ACL", "LOG"), ("CLIENT", "LIST"))


class Wanted:
    """Texts, and all forms in which a server or a program may have written them.

    The texts are unique words of ASCII, so a longer text with one of them has the same forms.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        exact, folded = set[bytes](), set[bytes]()
        for text in texts:
            assert text.isascii(), text
            for each in (text, text.upper()):
                exact |= set(_base64(each))
            for escaped in (text, quote(text, safe=""), json.dumps(text).strip('"')):
                folded |= {escaped.lower().encode(code) for code in ("ascii", "utf-16-le", "utf-16-be")}
            folded.add(text.lower().encode().hex().encode())
        self._exact, self._folded = sorted(exact), sorted(folded)
        self.longest = max(map(len, (*exact, *folded)))

    def are_in(self, content: bytes) -> bool:
        """Return whether bytes have one of the texts in any form."""
        lower = content.lower()
        return any(each in content for each in self._exact) or any(each in lower for each in self._folded)


def _base64(text: str) -> list[bytes]:
    """Return the base64 of a text without its neighbors, at each place in three bytes."""
    found = []
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + text.encode())
        whole = (before + len(text)) // 3 * 4
        found.append(encoded[(before * 4 + 2) // 3 : whole])
    return found


def places_with(shop: System, wanted: Wanted) -> list[str]:
    """Return the sorted names of all places that have one of the texts."""
    contents = (*server_contents(shop), *_processes(shop))
    found = {name for name, content in contents if wanted.are_in(content)}
    return sorted(found | {f"file {name}" for name in files_with(shop.options.folder, wanted)})


def files_with(folder: Path, wanted: Wanted) -> list[str]:
    """Return the files below a folder that have one of the texts in their names or bytes."""
    return [
        str(path.relative_to(folder))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MAILS and _is_in_file(path, str(path.relative_to(folder)), wanted)
    ]


def _is_in_file(path: Path, name: str, wanted: Wanted) -> bool:
    if wanted.are_in(name.encode()):
        return True
    end = b""
    try:
        with path.open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                if wanted.are_in(end + block):
                    return True
                end = block[-wanted.longest :]
    except FileNotFoundError:  # a server has removed it
        return False
    return False


def server_contents(shop: System) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the content of every key, queue and table, by the interfaces of the
    servers.
    """
    if "redis" in (shop.options.broker, shop.options.store):
        address = shop.broker_address if shop.options.broker == "redis" else shop.store_address
        with valkey.Valkey.from_url(valkey_server.url(address)) as client:
            yield from _keys(client)
    if shop.broker.env == rabbitmq.ENV:
        yield from _queues(shop)
    if shop.options.store == "postgres":
        with psycopg.connect(shop.store_address, autocommit=True) as connection:
            yield from _tables(connection)


def _keys(client: Any) -> Iterator[tuple[str, bytes]]:
    readers: dict[bytes, Any] = {
        b"string": client.get,
        b"hash": client.hgetall,
        b"list": lambda key: client.lrange(key, 0, -1),
        b"set": client.smembers,
        b"zset": lambda key: client.zrange(key, 0, -1),
        b"stream": client.xrange,
    }
    for key in client.scan_iter(count=1_000):
        kind: Any = client.type(key)
        yield f"{kind.decode()} {key.decode()}", key + repr(readers[kind](key)).encode()
    for words in LOGS_OF_THE_SERVER:
        answer = client.execute_command(*words)
        yield f"redis {' '.join(words)}", repr(answer).encode()


def _queues(shop: System) -> Iterator[tuple[str, bytes]]:
    names = [line.split()[0] for line in rabbitmq.control(shop.data, QUEUES).splitlines() if line.strip()]
    with rabbitmq_queues.connection(shop.broker_address) as connection:
        for name in names:
            channel = connection.channel()
            bodies = []
            while (got := channel.basic_get(name))[0] is not None:
                bodies.append(repr(got).encode())
            channel.close()  # all messages return to the queue
            yield f"queue {name}", b"\n".join((name.encode(), *bodies))


def _tables(connection: psycopg.Connection) -> Iterator[tuple[str, bytes]]:
    """Yield each table, also those of the catalog, such as the statistics of the columns."""
    query = (
        "SELECT nspname, relname FROM pg_class JOIN pg_namespace s ON s.oid = relnamespace "
        "WHERE relkind IN ('r', 'm') ORDER BY 1, 2"
    )
    for schema, table in connection.execute(query).fetchall():
        rows = sql.SQL("SELECT t::text FROM {} t").format(sql.Identifier(schema, table))
        content = "\n".join(str(row) for (row,) in connection.execute(rows))
        yield f"table {schema}.{table}", content.encode()
    activity = connection.execute("SELECT query FROM pg_stat_activity").fetchall()
    yield "table pg_stat_activity", repr(activity).encode()


def _processes(shop: System) -> Iterator[tuple[str, bytes]]:
    """Yield the command line and the environment of each process."""
    for name, pid in shop.processes.items():
        for part in ("cmdline", "environ"):
            yield f"{part} of {name}", (Path("/proc") / str(pid) / part).read_bytes()
