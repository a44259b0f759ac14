"""Searches every place of a running system for a text: records, streams, queues, tables, files.

The mailbox of the mail catcher is not searched. It stands for the mailboxes of the recipients: a
mail in it has been delivered, and left the system.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sidecart.launcher.lifecycle.start import MAILS
from sidecart.launcher.lifecycle.system import System
from sidecart.launcher.servers import rabbitmq, rabbitmq_queues
from sidecart.launcher.text_search import Wanted, files_with
from sidecart.testkit.contents import QUEUES


def places_with(shop: System, wanted: Wanted) -> list[str]:
    """Return the sorted names of all places that have one of the texts."""
    contents = (*server_contents(shop), *_processes(shop))
    found = {name for name, content in contents if wanted.are_in(content)}
    return sorted(found | {f"file {name}" for name in files_of(shop.options.folder, wanted)})


def files_of(folder: Path, wanted: Wanted) -> list[str]:
    """Return the files with one of the texts, without the delivered mails."""
    return [name for name in files_with(folder, wanted) if Path(name).name != MAILS]


def server_contents(shop: System) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the content of every key, queue and table, by the interfaces of the
    servers.
    """
    for env, server in shop.servers.items():
        yield from server.contents(shop.state.addresses[env])
    if shop.broker.env == rabbitmq.ENV:
        yield from _queues(shop)


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


def _processes(shop: System) -> Iterator[tuple[str, bytes]]:
    """Yield the command line and the environment of each process."""
    for name, pid in shop.processes.items():
        for part in ("cmdline", "environ"):
            yield f"{part} of {name}", (Path("/proc") / str(pid) / part).read_bytes()
