"""What a sidecar's log says that no waiting mends: something on a server that is not as the components declare it.

A sidecar that meets it neither ends nor says so in its health: it tries again for ever, and its app never gets ready.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BlockingError:
    """Why a sidecar will never read or write as it should, in the server's words, and what to do."""

    reason: str
    remedy: str
    topic: str = ""


_NAMED = "(?P<name>[^'\"\\\\]+)"
_KINDS = (
    # RabbitMQ. The same code (406) stands for what passes, such as an acknowledgement that came too late.
    (
        re.compile(rf"PRECONDITION_FAILED - inequivalent arg '[^']*' for (?P<kind>queue|exchange) '{_NAMED}'[^\"\\]*"),
        "delete the {kind} {name} on the server, if nothing in it is needed, or name another virtual host in AMQP_URL",
    ),
    (
        re.compile(r"(?:ACCESS_REFUSED|NOT_ALLOWED) - [^\"\\]*"),
        "name a virtual host in AMQP_URL that is there, and a user with the rights to configure, write and read in it",
    ),
    # Redis. The reason names no key; one of the lines does.
    (re.compile(r"WRONGTYPE [^\"\\]*"), "delete the key {name} on the server of REDIS_HOST, or name another server"),
    (re.compile(r"NOPERM [^\"\\]*"), "give the user at REDIS_HOST the rights to these commands and keys"),
    (
        re.compile(r"(?:NOAUTH|WRONGPASS) [^\"\\]*|Authentication required"),
        "name a server in REDIS_HOST that asks for no password",
    ),
    (
        re.compile(r"ERR unknown command[^\"\\]*"),
        "the server at REDIS_HOST is too old, or keeps the command from its users: take Redis 6.2 or later, or Valkey",
    ),
    (
        re.compile(r"password authentication failed.*|(?:database|role) .* does not exist"),
        "name a user, a password and a database of that server in POSTGRES_URL",
    ),
    # PostgreSQL: no such column, type or operator, or no right to it. That a table is not there yet passes.
    (
        re.compile(r"ERROR: .*?\(SQLSTATE (?:42501|42703|42804|42883|42P10)\)"),
        "the tables of another program have the names that the component uses: name another database in POSTGRES_URL",
    ),
)
_TOPIC = re.compile(r"(?:to topic|topic/queue|from stream) '?(?P<name>[\w-]+)")


def first_in(lines: Iterable[str]) -> BlockingError | None:
    """The first of these lines that names one, and if there is any the first that says of which topic."""
    found = [each for each in map(_named_in, lines) if each is not None]
    return next((each for each in found if each.topic), found[0] if found else None)


def _named_in(line: str) -> BlockingError | None:
    for pattern, remedy in _KINDS:
        match = pattern.search(line)
        if match is not None:
            reason, topic = match[0].replace('\\"', '"').strip(), _TOPIC.search(line)
            name = topic["name"] if topic is not None else ""
            placeholders = {"name": name or "that has the topic's name", **match.groupdict()}
            return BlockingError(
                reason if not name or name in reason else f"{name}: {reason}", remedy.format_map(placeholders), name
            )
    return None
