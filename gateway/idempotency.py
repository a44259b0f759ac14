"""Idempotency-Key: the caller's name for a request, by which its repetition is known.

The draft of the IETF (draft-ietf-httpapi-idempotency-key-header) makes it a String of RFC 9651, in quotes. Most callers
send it bare. Both are accepted, and `"abc"` is the same key as `abc`.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import http_sf
from fastapi import Request

from gateway.ids import made_key
from gateway.problems import Problem

BARE = r"[\x21\x23-\x7e][\x21-\x7e]{0,254}"
QUOTED = r'"([\x21\x23-\x5b\x5d-\x7e]|\\["\\]){1,255}"'
PATTERN = f"^({BARE}|{QUOTED})$"
"""For the reader of the OpenAPI document."""

KEY = re.compile(r"[\x21-\x7e]{1,255}", re.ASCII)


class IdempotencyKey(NamedTuple):
    """A key, and the header as it was sent: that is what to send again."""

    key: str
    sent: str


def idempotency_key(request: Request) -> IdempotencyKey:
    """Read the key of a request, or make one; raise Problem 400."""
    sent = request.headers.getlist("idempotency-key")
    if not sent:
        made = made_key()
        return IdempotencyKey(made, made)
    key = _unquoted(sent[0]) if sent[0].startswith('"') else sent[0]
    if len(sent) > 1 or not KEY.fullmatch(key):
        raise Problem(
            400,
            "bad_idempotency_key",
            "Idempotency-Key must be one header of 1 to 255 visible ASCII characters, bare or as a string in quotes",
        )
    return IdempotencyKey(key, sent[0])


def _unquoted(header: str) -> str:
    """The content of a String of RFC 9651; empty if it is malformed."""
    try:
        parsed = http_sf.parse(header.encode("latin-1"), tltype="item")
    except ValueError:
        return ""
    return parsed[0] if isinstance(parsed, tuple) and isinstance(parsed[0], str) else ""
