"""Finds errors in a sidecar's log that waiting cannot fix.

Such an error reports a server object that differs from the component's declaration. The sidecar
neither ends nor reports itself unhealthy. It retries forever, and its app never becomes ready.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BlockingError:
    """Why a sidecar can never read or write correctly, in the server's words, and how to fix it."""

    reason: str
    remedy: str
    topic: str = ""


_NAME = "(?P<name>[^'\"\\\\]+)"
_KINDS = (
    # RabbitMQ. The same code (406) also reports temporary errors, such as a late acknowledgement.
    (
        re.compile(rf"PRECONDITION_FAILED - inequivalent arg '[^']*' for (?P<kind>queue|exchange) '{_NAME}'[^\"\\]*"),
        "delete the {kind} {name} on the server if it may be lost, or set another virtual host in AMQP_URL",
    ),
    (
        re.compile(r"(?:ACCESS_REFUSED|NOT_ALLOWED) - [^\"\\]*"),
        "set AMQP_URL to an existing virtual host, and to a login with the rights to configure, write and read in it",
    ),
    # Redis. The reason names no key, but one of the log lines does.
    (re.compile(r"WRONGTYPE [^\"\\]*"), "delete the key {name} on the server at REDIS_HOST, or set another server"),
    (re.compile(r"NOPERM [^\"\\]*"), "grant the login at REDIS_HOST the rights to these commands and keys"),
    (
        re.compile(r"(?:NOAUTH|WRONGPASS) [^\"\\]*|Authentication required|invalid username-password pair"),
        "set REDIS_USERNAME and REDIS_PASSWORD to a login of the server at REDIS_HOST",
    ),
    (
        re.compile(r"ERR unknown command[^\"\\]*"),
        "use Redis 6.2 or later, or Valkey: the server at REDIS_HOST is too old, or denies the command",
    ),
    (
        re.compile(r"password authentication failed.*|(?:database|role) .* does not exist"),
        "set POSTGRES_URL to a login, a password and a database of that server",
    ),
    # PostgreSQL: a missing column, type or operator, or a missing permission. A missing table is
    # temporary.
    (
        re.compile(r"ERROR: .*?\(SQLSTATE (?:42501|42703|42804|42883|42P10)\)"),
        "set another database in POSTGRES_URL: tables of another program use the component's table names",
    ),
)
_TOPIC = re.compile(r"(?:to topic|topic/queue|from stream) '?(?P<name>[\w-]+)")


def first_in(lines: Iterable[str]) -> BlockingError | None:
    """Return the first blocking error in these lines, preferring one that names its topic."""
    found = [each for each in map(_error_in, lines) if each is not None]
    return next((each for each in found if each.topic), found[0] if found else None)


def _error_in(line: str) -> BlockingError | None:
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
