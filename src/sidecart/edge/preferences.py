"""Prefer (RFC 7240): how long the caller wants its request to be held.

A malformed preference is ignored, as the RFC asks.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import http_sf

WAIT_SECONDS = 5.0
WAIT_SECONDS_MAX = 30
MEMBERS_MAX = 50  # of all Prefer headers of a request; the others are ignored

# One member of a list: up to a comma outside quoted strings. An unterminated string takes the rest.
MEMBER = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.|\\$)*(?:"|$))+')
BLANKS_AROUND_EQUALS = re.compile(r"^([^\s\"=;]+)[ \t]*=[ \t]*")


@dataclass(frozen=True, slots=True)
class Preference:
    """How long to hold the request (seconds), and the value of Preference-Applied."""

    wait_seconds: float = WAIT_SECONDS
    applied: str | None = None


DEFAULT = Preference()


def preference(headers: Iterable[str]) -> Preference:
    """Read all Prefer headers.

    `respond-async, wait=10` holds the request for up to 10 s, then answers 202 (RFC 7240, section
    4.3).
    """
    found: dict[str, object] = {}
    for name, value in _members(headers):
        found.setdefault(name, value)  # the first one of each name counts
    is_async, wait = found.get("respond-async") in (True, ""), _seconds(found.get("wait"))
    if wait is None:
        return Preference(0, "respond-async") if is_async else DEFAULT
    return Preference(wait, f"respond-async, wait={wait}" if is_async else f"wait={wait}")


def _members(headers: Iterable[str]) -> Iterator[tuple[str, object]]:
    """Yield each preference with its value, parsed as a member of an RFC 9651 Dictionary.

    Prefer is older than structured fields: it allows empty members, names in any case and blanks
    around `=`. A malformed member does not invalidate the others, so each one is parsed separately.
    """
    for member in islice(MEMBER.finditer(",".join(headers)), MEMBERS_MAX):
        text = BLANKS_AROUND_EQUALS.sub(r"\1=", member[0].strip())
        name, equals, rest = text.partition("=")
        try:
            parsed = http_sf.parse(f"{name.lower()}{equals}{rest}".encode(), tltype="dictionary")
        except ValueError:
            continue
        assert isinstance(parsed, dict)
        for key, value in parsed.items():
            yield key, value[0] if isinstance(value, tuple) else value


def _seconds(value: object) -> int | None:
    """Return the seconds to wait, from a number or a quoted number; None for any other value."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:9])
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return min(value, WAIT_SECONDS_MAX)
    return None
