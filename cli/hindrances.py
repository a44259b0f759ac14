"""What a sidecar's log says that no waiting mends: something on a server that is not as the components declare it.

A sidecar that meets it neither ends nor says so in its health: it tries again for ever, and its app never gets ready.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Hindrance:
    """Why a sidecar will never read or write as it should, in the server's words, and what to do."""

    reason: str
    remedy: str


_NAMED = "(?P<name>[^'\"\\\\]+)"
_KINDS = (
    # RabbitMQ. The same code (406) stands for what passes, such as an acknowledgement that came too late.
    (
        re.compile(rf"PRECONDITION_FAILED - inequivalent arg '[^']*' for (?P<kind>queue|exchange) '{_NAMED}'[^\"\\]*"),
        "delete the {kind} {name} on the server, if nothing in it is needed, or name another virtual host in AMQP_URL",
    ),
    (
        re.compile(r"(?:ACCESS_REFUSED|NOT_ALLOWED) - [^\"\\]*"),
        "give the user of AMQP_URL the rights to configure, write and read in its virtual host",
    ),
    # Redis. The reason names no key; the line does, where it is about a topic.
    (
        re.compile(r"WRONGTYPE [^\"\\]*"),
        "delete the key that has the topic's name on the server of REDIS_HOST, or name another server",
    ),
    (re.compile(r"NOPERM [^\"\\]*"), "give the user at REDIS_HOST the rights to these commands and keys"),
    (
        re.compile(r"ERR unknown command[^\"\\]*"),
        "the server at REDIS_HOST is too old, or keeps the command from its users: take Redis 6.2 or later, or Valkey",
    ),
    # PostgreSQL: no such column, type or operator, or no right to it. That a table is not there yet passes.
    (
        re.compile(r"ERROR: .*?\(SQLSTATE (?:42501|42703|42804|42883|42P10)\)"),
        "the tables of another program have the names that the component uses: name another database in POSTGRES_URL",
    ),
)
_TOPIC = re.compile(r"topic(?:/queue)? '?(?P<topic>[\w-]+)|stream (?P<stream>[\w-]+)")


def found_in(lines: Iterable[str]) -> Hindrance | None:
    """The first of these lines that names one."""
    for line in lines:
        for pattern, remedy in _KINDS:
            match = pattern.search(line)
            if match is not None:
                return Hindrance(_reason(line, match), remedy.format_map(match.groupdict()))
    return None


def _reason(line: str, match: re.Match[str]) -> str:
    """The server's words, with the topic that they are about if only the line around them says it."""
    reason = match[0].replace('\\"', '"').strip()
    topic = _TOPIC.search(line)
    name = next((each for each in topic.groups() if each), "") if topic is not None else ""
    return f"{name}: {reason}" if name and name not in reason else reason
