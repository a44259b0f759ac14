"""The cause of a dead letter: its service, its topic, and its reason without the values in it.

A reason quotes the event or names its record, so each one differs. Dead letters of one cause have
the same id of a group, in every process and after every restart. The codes of a protocol stay,
because they are the cause: a reply code of SMTP or HTTP (`550`), and an enhanced status code of
SMTP (`5.1.1`, RFC 3463). The text after them is a stranger's, and does not.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import NamedTuple

REASON_CHARACTERS_MAX = 200
ID_CHARACTERS = 10
"""40 bits: two of a thousand causes have the same id once in two million systems."""
REPLY_CODE = re.compile(r"[45]\d\d")
STATUS_CODE = re.compile(r"[245]\.\d{1,3}\.\d{1,3}(?![\w.])")
AFTER_REPLY_CODE = re.compile(rf"[:,)]|$| {STATUS_CODE.pattern}")
REPLY_BEFORE = re.compile(r"\([45]\d\d, \Z")
"""The reply code before the text of a reply. Any other text in quotation marks is a value."""
BEFORE_CODE = (": ", "(")
"""Texts before a code that is not at the beginning. Elsewhere a number is a value."""


def _quoted(found: re.Match[str]) -> str:
    """Return the placeholder of a quoted text, after the code with which a reply begins."""
    is_reply = REPLY_BEFORE.search(found.string, max(0, found.start() - 6), found.start())
    code = STATUS_CODE.match(found[2]) if is_reply else None
    return "<text>" if code is None else f"{code[0]} <text>"


def _number(found: re.Match[str]) -> str:
    """Return a code, or the placeholder of another number."""
    text, start, end = found.string, found.start(), found.end()
    begins = start == 0 or text.endswith(BEFORE_CODE, 0, start)
    if REPLY_CODE.fullmatch(found[0]):
        return found[0] if begins and AFTER_REPLY_CODE.match(text, end) else "<n>"
    if STATUS_CODE.fullmatch(found[0]):
        follows = text.startswith(" <text>", end) or REPLY_CODE.fullmatch(text, max(0, start - 4), max(0, start - 1))
        return found[0] if begins or follows else "<n>"
    return "<n>"


PLACEHOLDERS: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    # a quoted text may contain each of the others, and escaped quotation marks; an apostrophe
    # within a word quotes nothing
    (re.compile(r"""(?<!\w)(["'])((?:\\.|(?!\1(?!\w))[^\\])*+)\1(?!\w)""", re.DOTALL), _quoted),
    (re.compile(r"[\w.!#$%&*+/=?^{|}~-]{1,64}@[\w.-]+"), "<address>"),
    (re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE), "<id>"),
    (re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d)?"), "<time>"),
    (re.compile(r"\b(?=[a-f]*\d)[0-9a-f]{12,}\b", re.IGNORECASE), "<id>"),
    # not the digits of a name, such as sha256
    (re.compile(r"(?<![\w.])[-+]?\d+(?:\.\d+)*(?!\w)"), _number),
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
