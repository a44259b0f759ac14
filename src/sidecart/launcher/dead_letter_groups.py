"""Dead letters grouped by their cause, in one pass and bounded memory."""

from __future__ import annotations

from dataclasses import dataclass

from sidecart.launcher.causes import ID_CHARACTERS, Cause
from sidecart.launcher.dead_letters import ERASED, DeadLetter, Filter, State, find_dead_letters
from sidecart.launcher.errors import LaunchError

GROUPS_MAX = 1_000
"""Groups in memory, of about 1 KB each. Dead letters of further causes are counted together."""


@dataclass(slots=True)
class Group:
    """The open and the erased dead letters of one cause."""

    id: str
    service: str
    topic: str
    reason: str
    """With a placeholder for each value."""
    example: str
    """The id of the newest one."""
    first: str
    last: str
    open: int = 0
    erased: int = 0
    """Their events were removed by the erasure of a person; they cannot be replayed."""


@dataclass(frozen=True, slots=True)
class Groups:
    """The groups, the largest first."""

    groups: list[Group]
    ungrouped: int = 0
    """Dead letters of the causes that came after GROUPS_MAX others."""


class Grouping:
    """Adds dead letters to their groups, one by one."""

    def __init__(self) -> None:
        self._groups: dict[Cause, Group] = {}
        self._ungrouped = 0

    def add(self, letter: DeadLetter) -> None:
        """Count an open or an erased dead letter; ignore one that is replayed or discarded."""
        is_erased = letter.status == ERASED
        if not (letter.is_open or is_erased):
            return
        cause = letter.cause
        group = self._groups.get(cause)
        if group is None:
            if len(self._groups) >= GROUPS_MAX:
                self._ungrouped += 1
                return
            group = Group(cause.id, *cause, letter.id, letter.first, letter.time)
            self._groups[cause] = group
        group.open += not is_erased
        group.erased += is_erased
        group.first = min(group.first, letter.first)
        if letter.time >= group.last:
            group.last, group.example = letter.time, letter.id

    def result(self) -> Groups:
        """Return the groups so far."""
        found = sorted(self._groups.values(), key=lambda each: (-each.open, -each.erased, each.id))
        return Groups(found, self._ungrouped)


def group_dead_letters(state: State, service: str | None = None, topic: str | None = None) -> Groups:
    """Group all dead letters; raise LaunchError if a service's state is unreachable."""
    grouping = Grouping()
    for letter in find_dead_letters(state, Filter(service=service, topic=topic, settled=True)):
        grouping.add(letter)
    return grouping.result()


def require_group(state: State, group: str) -> str:
    """Return the id of the group with open dead letters whose id begins with `group`.

    Raise LaunchError if there is none, because the id may be mistyped, or if there are several.
    """
    found: set[str] = set()
    for letter in find_dead_letters(state):
        if group and letter.cause.id.startswith(group):
            found.add(letter.cause.id)
            if len(group) == ID_CHARACTERS:  # no other can begin with it
                break
    if not found:
        raise LaunchError(f"no open dead letter is in the group {group}: ./sidecart dead-letters groups shows all")
    if len(found) > 1:
        raise LaunchError(f"{len(found)} groups begin with {group}: give more characters of the id")
    return found.pop()
