"""Dead letters as the command line prints them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from sidecart.launcher.dead_letter_groups import Group
from sidecart.launcher.dead_letters import DeadLetter

REASON_WIDTH = 80
EXAMPLE_CHARACTERS = 8
"""Of the id of a group's newest dead letter, which `show` takes."""
GROUP_LINE = "{:10}  {:>7}  {:24}  {:24}  {:8}  {:12}  {:24}  {}"
GROUP_HEADER = GROUP_LINE.format("group", "open", "first", "last", "newest", "service", "topic", "reason")
# a terminal executes control characters, and any client of the system can send them; characters
# without a width hide text, those of a direction reorder it, and half a surrogate pair ends `print`
CONTROL = re.compile(
    r"[\x00-\x09\x0b-\x1f\x7f-\x9f"
    r"\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    r"\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ud800-\udfff"
    r"\U000110bd\U000110cd\U00013430-\U0001345f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


def as_json(letter: DeadLetter) -> str:
    """Format all fields as one JSON object."""
    return json.dumps({name: getattr(letter, name) for name in DeadLetter.__slots__})


def line(letter: DeadLetter) -> str:
    """Format a dead letter as one line."""
    status = "" if letter.status == "open" else f"[{letter.status}] "
    return escaped(f"{letter.id}  {letter.time}  {letter.service:12}  {letter.topic:24}  {status}{cut(letter.reason)}")


def escaped(text: str) -> str:
    """Escape the characters in a text that control a terminal, or that it does not show."""
    return CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


def number(count: int) -> str:
    """Return a number of dead letters in words."""
    return f"{count} dead letter{'' if count == 1 else 's'}"


def pretty(event: str) -> str:
    """Indent an event's JSON, or return the text unchanged if it is not JSON."""
    try:
        return json.dumps(json.loads(event), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return event


def group_line(group: Group) -> str:
    """Format a group as one line under GROUP_HEADER."""
    erased = f"[{group.erased} erased] " if group.erased else ""
    columns = group.id, group.open, group.first, group.last, group.example[:EXAMPLE_CHARACTERS]
    return escaped(GROUP_LINE.format(*columns, group.service, group.topic, f"{erased}{cut(group.reason)}"))


def group_summary(groups: Sequence[Group]) -> str:
    """Count the groups with open dead letters; one that is completely erased needs no action."""
    count, erased = sum(each.open > 0 for each in groups), sum(each.erased for each in groups)
    more = f", {erased} erased" if erased else ""
    return f"{count} group{'' if count == 1 else 's'}, {number(sum(each.open for each in groups))}{more}"


def cut(text: str) -> str:
    """Return the beginning of a text without line breaks."""
    flat = " ".join(text.split())
    return flat if len(flat) <= REASON_WIDTH else f"{flat[: REASON_WIDTH - 3]}..."
