"""Prefer (RFC 7240): how long the caller wants to be held; what is malformed is ignored, as the RFC asks."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

WAIT_SECONDS = 5.0
WAIT_SECONDS_MAX = 30
WAIT = re.compile(r'^wait\s*=\s*"?(\d{1,9})"?$', re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Preference:
    """How long to hold the request (seconds), and what to say in Preference-Applied."""

    wait_seconds: float = WAIT_SECONDS
    applied: str | None = None


def preference(headers: Iterable[str]) -> Preference:
    """Read all Prefer headers; respond-async wins over wait, the first wait over later ones."""
    wait: Preference | None = None
    for token in ",".join(headers).split(","):
        word = token.partition(";")[0].strip()
        if word.lower() == "respond-async":
            return Preference(0, "respond-async")
        if wait is None and (found := WAIT.match(word)):
            seconds = min(int(found.group(1)), WAIT_SECONDS_MAX)
            wait = Preference(seconds, f"wait={seconds}")
    return wait or Preference()
