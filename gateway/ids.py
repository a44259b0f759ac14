"""Ids are made before anything is published, so that a repeated request is the same command for the same resource."""

import json
import re
import secrets
import time
import uuid
from typing import Any

KEYED = uuid.UUID("8a4f6f0c-43a5-5b61-9d0f-3f4a4b6f7c10")  # namespace of the ids that come from an Idempotency-Key

MADE_KEY = re.compile(r"^sidecart-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$", re.ASCII)


def uuid7() -> str:
    """A UUID of version 7 (RFC 9562): 48 bits of Unix milliseconds, then random bits."""
    return str(_version7(time.time_ns() // 1_000_000, secrets.randbits(80)))


def _version7(milliseconds: int, bits: int) -> uuid.UUID:
    value = (milliseconds & (1 << 48) - 1) << 80 | bits & (1 << 80) - 1
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return uuid.UUID(int=value)


def made_key() -> str:
    """An Idempotency-Key for a request that came without one, so that it can be repeated all the same."""
    return f"sidecart-{uuid7()}"


def resource_id(route: str, owner: str, key: str) -> str:
    """The id of what the request makes; `owner` is the user_id or the case-folded e-mail address.

    A UUID of version 5; of a key that we made, one of version 7 with the key's time, so that ids sort by time.
    """
    made = uuid.uuid5(KEYED, f"{route}\n{owner}\n{key}")
    if not (ours := MADE_KEY.match(key)):
        return str(made)
    return str(_version7(uuid.UUID(ours.group(1)).int >> 80, made.int))


def command_id(resource: str, body: dict[str, Any]) -> str:
    """The id of the command: another body for the same resource is another command."""
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return str(uuid.uuid5(uuid.UUID(resource), canonical))


def is_uuid(text: str) -> bool:
    """Whether it is a UUID in the one form that we hand out: lower case, with hyphens."""
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False
