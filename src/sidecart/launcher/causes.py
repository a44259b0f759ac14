"""The cause of a dead letter: its service, its topic, and its reason without the values in it.

A reason quotes the event or names its record, so each one differs. Dead letters of one cause have
the same id of a group, in every process and after every restart.
"""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple

REASON_CHARACTERS_MAX = 200
ID_CHARACTERS = 10
"""40 bits: two of a thousand causes have the same id once in two million systems."""
PLACEHOLDERS = (
    # a quoted text may contain each of the others; an apostrophe within a word quotes nothing
    (re.compile(r"""(?<!\w)(["'])(?:(?!\1).)*\1(?!\w)""", re.DOTALL), "<text>"),
    (re.compile(r"[\w.!#$%&*+/=?^{|}~-]{1,64}@[\w.-]+"), "<address>"),
    (re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE), "<id>"),
    (re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d)?"), "<time>"),
    (re.compile(r"\b(?=[a-f]*\d)[0-9a-f]{12,}\b", re.IGNORECASE), "<id>"),
    # not the digits of a name, such as sha256
    (re.compile(r"(?<![\w.])[-+]?\d+(?:\.\d+)*(?!\w)"), "<n>"),
    (re.compile(r"\s+"), " "),
)


class Cause(NamedTuple):
    """The service, the topic and the reason that the dead letters of one group share."""

    service: str
    topic: str
    reason: str
    """The beginning of the reason, with a placeholder for each value."""

    @property
    def id(self) -> str:
        """The id of the group."""
        return hashlib.sha256("\n".join(self).encode()).hexdigest()[:ID_CHARACTERS]


def cause_of(service: str, topic: str, reason: str) -> Cause:
    """Return the cause of a dead letter."""
    return Cause(service, topic, normalized(reason))


def normalized(reason: str) -> str:
    """Return a reason with a placeholder for each value, and cut."""
    for pattern, placeholder in PLACEHOLDERS:
        reason = pattern.sub(placeholder, reason)
    return reason.strip()[:REASON_CHARACTERS_MAX]
