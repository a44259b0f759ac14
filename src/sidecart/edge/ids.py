"""Ids of resources and commands.

The gateway derives both before it publishes a command. A repeated request is therefore the same
command for the same resource.
"""

import json
import re
import secrets
import time
import uuid
from typing import Any

# Namespace of the ids that derive from an Idempotency-Key.
KEYED = uuid.UUID("8a4f6f0c-43a5-5b61-9d0f-3f4a4b6f7c10")

MADE_KEY = re.compile(r"^sidecart-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$", re.ASCII)


def uuid7() -> str:
    """Return a UUID of version 7 (RFC 9562): 48 bits of Unix milliseconds, then random bits."""
    return str(_version7(time.time_ns() // 1_000_000, secrets.randbits(80)))


def _version7(milliseconds: int, bits: int) -> uuid.UUID:
    value = (milliseconds & (1 << 48) - 1) << 80 | bits & (1 << 80) - 1
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return uuid.UUID(int=value)


def made_key() -> str:
    """Return a new Idempotency-Key for a request without one, so the caller can repeat it."""
    return f"sidecart-{uuid7()}"


def resource_id(route: str, owner: str, key: str) -> str:
    """Return the id of the resource that a request creates.

    `owner` is the user_id, or at registration the case-folded e-mail address. The id is a UUID of
    version 5. If the gateway generated the key, the id is a UUID of version 7 with the key's time,
    so ids sort by time.
    """
    derived = uuid.uuid5(KEYED, f"{route}\n{owner}\n{key}")
    if not (own_key := MADE_KEY.match(key)):
        return str(derived)
    return str(_version7(uuid.UUID(own_key.group(1)).int >> 80, derived.int))


def command_id(resource: str, body: dict[str, Any]) -> str:
    """Return the id of a command; another body for the same resource gives another id."""
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return str(uuid.uuid5(uuid.UUID(resource), canonical))


def is_uuid(text: str) -> bool:
    """Return whether a text is a UUID in canonical form: lower case, with hyphens."""
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False
