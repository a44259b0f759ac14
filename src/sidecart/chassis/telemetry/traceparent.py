"""The traceparent of W3C Trace Context: a trace id, a span id and flags as one text."""

from __future__ import annotations

import re

TRACEPARENT = re.compile(
    r"(?!ff)(?:00(?=.{53}\Z)|(?!00)[0-9a-f]{2})"
    r"-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?"
)
"""W3C Trace Context: trace id, span id, flags (bit 0: sampled). Later versions may add fields."""
SAMPLED = 1


def version_00(traceparent: str) -> str:
    """Return a traceparent in version 00, or an empty string if it is malformed.

    Of a later version the standard allows only the ids and the sampled flag to be used.
    """
    found = TRACEPARENT.fullmatch(traceparent)
    if found is None or traceparent.startswith("00"):
        return "" if found is None else traceparent
    return f"00-{found[1]}-{found[2]}-{int(found[3], 16) & SAMPLED:02x}"
