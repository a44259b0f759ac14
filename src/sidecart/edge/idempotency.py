"""Idempotency-Key: the caller's name for a request, which identifies a repetition of it.

The IETF draft (draft-ietf-httpapi-idempotency-key-header) makes it a String of RFC 9651, in quotes.
Most callers send it without quotes. The gateway accepts both: `"abc"` and `abc` are the same key.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import http_sf

from sidecart.edge.problems import Problem

BARE = r"[\x21\x23-\x7e][\x21-\x7e]{0,254}"
QUOTED = r'"([\x21\x23-\x5b\x5d-\x7e]|\\["\\]){1,255}"'
PATTERN = f"^({BARE}|{QUOTED})$"
"""For the OpenAPI document."""

KEY = re.compile(r"[\x21-\x7e]{1,255}", re.ASCII)


class IdempotencyKey(NamedTuple):
    """A key, and the header value with which the caller repeats the request."""

    key: str
    sent: str


def idempotency_key(sent: Sequence[str]) -> IdempotencyKey:
    """Return the key of a request from its headers; raise Problem 400 if it is malformed."""
    key = _unquoted(sent[0]) if sent[0].startswith('"') else sent[0]
    if len(sent) > 1 or not KEY.fullmatch(key):
        raise Problem(
            400,
            "bad_idempotency_key",
            "Idempotency-Key must be one header of 1 to 255 visible ASCII characters, with or without quotes",
        )
    return IdempotencyKey(key, sent[0])


def _unquoted(header: str) -> str:
    """Return the content of a String of RFC 9651; empty if it is malformed."""
    try:
        parsed = http_sf.parse(header.encode("latin-1"), tltype="item")
    except ValueError:
        return ""
    return parsed[0] if isinstance(parsed, tuple) and isinstance(parsed[0], str) else ""
